"""NetworkPolicies as nftables rules: what is selected, what is allowed, and how one rule set becomes another."""

from typing import Any

import pytest

from cluster.netpol_rules import REJECT, Pod, Ruleset, World, compile_rules, difference, directions, selects

NAMESPACES = {"a": {"team": "red"}, "b": {"team": "blue"}}
WEB = Pod("a", "web", "node-1", "10.0.0.1", frozenset({("app", "web")}), frozenset({("http", "TCP", 80)}))
CLIENT = Pod("a", "client", "node-1", "10.0.0.2", frozenset({("app", "client")}))
OTHER = Pod("b", "other", "node-2", "10.0.2.3", frozenset({("app", "client")}), frozenset({("http", "TCP", 81)}))


def policy(spec: dict[str, Any], namespace: str = "a") -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": "p"}, "spec": {"podSelector": {}, **spec}}


def compiled(*policies: dict[str, Any], pods: tuple[Pod, ...] = (WEB, CLIENT, OTHER)) -> dict[str, Ruleset]:
    return compile_rules(World(pods, NAMESPACES, policies), ["node-1", "node-2"])


def rules_of(pod: Pod, direction: str, *policies: dict[str, Any]) -> tuple[str, ...] | None:
    """Rules of a pod in one direction, None if it is not selected."""
    ruleset = compiled(*policies)[pod.node]
    name = getattr(ruleset, direction).get(pod.address)
    return ruleset.chains[name] if name else None


def test_no_policy_selects_nothing() -> None:
    assert compiled() == {"node-1": Ruleset(), "node-2": Ruleset()}


def test_default_deny_rejects_the_pods_of_its_namespace_on_their_own_node_only() -> None:
    denied = policy({"policyTypes": ["Ingress"]})
    assert rules_of(WEB, "ingress", denied) == (REJECT,)
    assert rules_of(WEB, "egress", denied) is None
    assert compiled(denied)["node-2"] == Ruleset()


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, ["return"]),
        ({"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}, ["ip saddr { 10.0.0.2 } return"]),
        ({"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "client"}}}]},
         ["ip saddr { 10.0.0.2, 10.0.2.3 } return"]),
        ({"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}]}, ["ip saddr { 10.0.2.3 } return"]),
        ({"from": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}, []),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
         ["ip saddr 10.0.0.0/8 ip saddr != { 10.1.0.0/16 } return"]),
        ({"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}, []),
        ({"ports": [{"port": 8883}, {"port": 53, "protocol": "UDP"}]},
         ["tcp dport 8883 return", "udp dport 53 return"]),
        ({"ports": [{"port": 8000, "endPort": 8010}]}, ["tcp dport 8000-8010 return"]),
        ({"ports": [{"protocol": "UDP"}]}, ["meta l4proto udp return"]),
        ({"ports": [{"port": "http"}]}, ["tcp dport { 80 } return"]),
        ({"ports": [{"port": "unknown"}]}, []),
    ],
)  # fmt: skip
def test_ingress_rules(rule: dict[str, Any], expected: list[str]) -> None:
    found = rules_of(WEB, "ingress", policy({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [rule]}))
    assert found is not None
    assert [" ".join(line.split()) for line in found] == [*expected, REJECT]


def test_named_egress_port_is_the_peers() -> None:
    rule = {"to": [{"namespaceSelector": {}}], "ports": [{"port": "http"}]}
    found = rules_of(CLIENT, "egress", policy({"policyTypes": ["Egress"], "egress": [rule]}))
    assert found == (
        "ip daddr { 10.0.0.1 } tcp dport { 80 } return",
        "ip daddr { 10.0.2.3 } tcp dport { 81 } return",
        REJECT,
    )


def test_policies_add_up() -> None:
    first = policy({"ingress": [{"ports": [{"port": 1}]}]})
    second = policy({"ingress": [{"ports": [{"port": 2}]}]})
    assert rules_of(WEB, "ingress", first, second) == ("tcp dport 1 return", "tcp dport 2 return", REJECT)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": ["Egress"]}, ["Egress"]),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, ["Egress"]),
    ],
)
def test_policy_types_default_as_upstream(spec: dict[str, Any], expected: list[str]) -> None:
    assert directions(policy(spec)) == expected


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [
        ("In", ["x"], {"k": "x"}, True),
        ("In", ["x"], {}, False),
        ("NotIn", ["x"], {"k": "y"}, True),
        ("NotIn", ["x"], {}, True),
        ("NotIn", ["x"], {"k": "x"}, False),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
        ("DoesNotExist", None, {"k": "x"}, False),
    ],
)
def test_match_expressions(operator: str, values: list[str] | None, labels: dict[str, str], expected: bool) -> None:
    expression = {"key": "k", "operator": operator, "values": values}
    assert selects({"matchExpressions": [expression]}, labels) is expected


def test_equal_rules_need_no_transaction() -> None:
    ruleset = compiled(policy({}))["node-1"]
    assert difference(ruleset, ruleset) == ""


def test_unknown_table_is_made_anew_in_one_transaction() -> None:
    text = difference(None, Ruleset())
    assert text.index("delete table") < text.rindex("add table") < text.index("ct state established,related accept")
