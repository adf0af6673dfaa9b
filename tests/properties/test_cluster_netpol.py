"""The enforcer's rules, judged by nft itself: any sequence of policies ends where a fresh start would."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.netpol_rules import Pod, World, compile_rules, difference

WEB = Pod("a", "web", "node-1", "10.0.0.1", frozenset({("app", "web")}), frozenset({("http", "TCP", 80)}))
CLIENT = Pod("a", "client", "node-1", "10.0.0.2", frozenset({("app", "client")}))


def policy(spec: dict[str, Any]) -> dict[str, Any]:
    """A NetworkPolicy of namespace `a`."""
    return {"metadata": {"namespace": "a", "name": "p"}, "spec": spec}


LABEL = st.sampled_from([{}, {"app": "web"}, {"app": "client"}])
SELECTOR = st.builds(lambda labels: {"matchLabels": labels}, LABEL)
PEER = st.one_of(
    st.builds(lambda s: {"podSelector": s}, SELECTOR),
    st.builds(lambda n, s: {"namespaceSelector": n, "podSelector": s}, st.just({}), SELECTOR),
    st.just({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.9.0.0/16", "10.8.0.0/16"]}}),
    st.just({"ipBlock": {"cidr": "0.0.0.0/0"}}),
)
PORT = st.sampled_from(
    [{"port": 80}, {"port": "http"}, {"protocol": "UDP"}, {"port": 1, "endPort": 9, "protocol": "SCTP"}, {"port": "no"}]
)
PEERS, PORTS = st.lists(PEER, max_size=2), st.lists(PORT, max_size=2)
INGRESS = st.builds(lambda peers, ports: {"from": peers, "ports": ports}, PEERS, PORTS)
EGRESS = st.builds(lambda peers, ports: {"to": peers, "ports": ports}, PEERS, PORTS)
POLICY = st.builds(
    lambda selector, ingress, egress, types: policy(
        {"podSelector": selector, "ingress": ingress, "egress": egress, "policyTypes": types}
    ),
    SELECTOR,
    st.lists(INGRESS, max_size=2),
    st.lists(EGRESS, max_size=2),
    st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
)
PODS = st.lists(
    st.sampled_from([WEB, CLIENT, replace(CLIENT, labels=frozenset()), replace(WEB, address="10.0.0.9")]), unique=True
).map(lambda pods: tuple({pod.address: pod for pod in pods}.values()))
STATE = st.tuples(st.lists(POLICY, max_size=3), PODS)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="nft needs root and the package nftables")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STATE, min_size=2, max_size=3))
def test_nft_accepts_every_step_and_ends_where_a_fresh_start_would(states: list[tuple[list[Any], Any]]) -> None:
    """Applied one by one in a namespace of their own, the steps leave the table that the last state alone makes."""
    rulesets = [compile_rules(World(pods, {"a": {}}, tuple(ps)), ["node-1"])["node-1"] for ps, pods in states]
    steps = [difference(old, new) for old, new in zip([None, *rulesets], rulesets, strict=False)]
    assert table_after(*steps) == table_after(difference(None, rulesets[-1]))


def table_after(*scripts: str) -> dict[str, Any]:
    """The table after nft ran scripts in a fresh network namespace: rules by chain, elements by map."""
    runs = "\n".join(f"nft -f - <<'END'\n{script}END" for script in scripts)
    argv = ["unshare", "--net", "sh", "-ec", f"{runs}\nnft --json list ruleset"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table: dict[str, Any] = {}
    for entry in json.loads(done.stdout)["nftables"]:
        if "chain" in entry:
            table.setdefault(entry["chain"]["name"], [])
        elif "rule" in entry:
            table[entry["rule"]["chain"]].append(entry["rule"]["expr"])
        elif "map" in entry:
            table["map " + entry["map"]["name"]] = sorted(map(json.dumps, entry["map"].get("elem", [])))
    return table
