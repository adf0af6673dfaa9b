"""The launcher's pure parts: ports, names, configurations, and what it understands on the command line."""

import ipaddress
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster import build, cli, controlplane, kwok, manifests, netns, node, nodeports, pki, ports, setup, spec, teardown
from cluster import volumes_testpart as volumes
from cluster.errors import ClusterError
from cluster.kubeapi import path_of
from cluster.spec import Cluster


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A recorded cluster of two nodes; nothing of it runs."""
    monkeypatch.setenv("TEPHRA_CLUSTER_DIR", str(tmp_path))
    made = Cluster("one", 1, ports.api_port(1), 2, 0, {"node-2": {"tephra.dev/site": "rome"}})
    spec.save(made)
    return made


# --- names and ports ---------------------------------------------------------------------------------


def test_slots_are_disjoint_and_within_the_ports_that_kubernetes_allows() -> None:
    every = [port for slot in range(spec.SLOTS) for port in ports.slot_ports(slot)]
    assert len(every) == len(set(every))
    assert all(30000 <= port <= 32767 for slot in range(spec.SLOTS) for port in ports.slot_ports(slot)[1:])


def test_a_slot_is_passed_over_if_it_is_taken_or_one_of_its_ports_is_busy() -> None:
    busy = ports.slot_ports(1)[7]
    assert ports.pick_slot([0], free=lambda port: port != busy) == 2


def test_no_slot_left_names_the_next_step() -> None:
    with pytest.raises(ClusterError, match="down --name"):
        ports.pick_slot(range(spec.SLOTS))


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a" * 41, "a/b", "..", "a b"])
def test_names_that_cannot_be_paths_or_namespaces_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cluster name"):
        spec.check_name(name)


def test_a_cluster_is_read_back_as_it_was_saved(cluster: Cluster) -> None:
    assert spec.load("one") == cluster
    assert spec.clusters() == {"one": cluster}
    assert spec.load("two") is None


def test_asking_for_an_unknown_cluster_names_the_known_ones(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"known: one.*up --name two"):
        spec.require("two")


def test_a_clusters_namespaces_are_told_from_those_of_clusters_with_similar_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["tephra-a-hub", "tephra-a-node-1", "tephra-a-node-1-hub", "tephra-a-b-hub", "tephra-a-b-node-1", "other"]
    for name in names:
        (tmp_path / name).touch()
    monkeypatch.setattr(netns, "RUN", tmp_path)
    assert netns.of_cluster("a") == ["tephra-a-hub", "tephra-a-node-1"]
    assert netns.of_cluster("a-b") == ["tephra-a-b-hub", "tephra-a-b-node-1"]
    assert netns.of_cluster("a-node-1") == ["tephra-a-node-1-hub"]


def test_teardown_of_nothing_finds_nothing(cluster: Cluster) -> None:
    assert teardown.leftovers("nobody") == []


def test_teardown_leaves_a_directory_alone_that_is_no_clusters(cluster: Cluster) -> None:
    (spec.clusters_dir() / "photos").mkdir()
    with pytest.raises(ClusterError, match=r"no spec\.json"):
        teardown.down("photos")
    assert (spec.clusters_dir() / "photos").exists()


def test_a_port_that_someone_else_took_is_named(cluster: Cluster) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ClusterError, match="is in use by another program"):
            setup.check_port(replace(cluster, api_port=other.getsockname()[1]))


# --- configurations ----------------------------------------------------------------------------------


@pytest.mark.parametrize("nodes", [1, 2, 3, 7])
def test_nodes_together_never_offer_more_than_the_machine(nodes: int) -> None:
    whole = (2000, 24105)
    held = node.reserved(whole, nodes)
    offered = (whole[0] - int(held["cpu"][:-1]), whole[1] - int(held["memory"][:-2]))
    assert offered[0] * nodes <= whole[0]
    assert offered[1] * nodes <= whole[1]
    assert offered[0] > 0


def test_pod_ranges_of_nodes_do_not_overlap_and_hold_the_pods(cluster: Cluster) -> None:
    members = [spec.Node("one", index) for index in range(spec.MAX_NODES)]
    ranges = [ipaddress.IPv4Network(member.pod_cidr) for member in members]
    assert len(set(ranges)) == spec.MAX_NODES
    assert all(r.subnet_of(ipaddress.IPv4Network(spec.POD_CIDR)) for r in ranges)
    assert all(r.num_addresses - 3 >= node.MAX_PODS for r in ranges)


def test_labels_of_a_node_that_will_not_exist_are_refused(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="node-3"):
        setup.claim("one", 2, 0, {"node-3": {"a": "b"}})


def test_a_cluster_grows_and_keeps_its_ports_but_does_not_shrink(cluster: Cluster) -> None:
    grown = setup.claim("one", 3, 0, {"node-3": {"a": "b"}})
    assert (grown.slot, grown.nodes) == (cluster.slot, 3)
    assert grown.node_labels == {"node-2": {"tephra.dev/site": "rome"}, "node-3": {"a": "b"}}
    with pytest.raises(ClusterError, match="cannot shrink to 1"):
        setup.claim("one", 1, 0, {})


def test_api_server_gives_out_only_the_clusters_node_ports(cluster: Cluster) -> None:
    apiserver = next(c for c in controlplane.components(cluster) if c.name == "kube-apiserver")
    assert "--service-node-port-range=30200-30399" in apiserver.argv


def test_routes_name_the_api_server_and_every_node_for_a_node_port(cluster: Cluster) -> None:
    controlplane.write_routes(cluster, [30200])
    api, web = json.loads(controlplane.routes_file(cluster).read_text())
    assert api == {"listen": f"127.0.0.1:{cluster.api_port}", "targets": ["198.18.0.1:6443"]}
    assert web == {"listen": "127.0.0.1:30200", "targets": ["198.18.0.11:30200", "198.18.0.12:30200"]}


def test_every_object_the_launcher_applies_is_of_a_kind_it_can_apply() -> None:
    simulated = kwok.nodes(Cluster("k", 0, 1, 1, 3))
    paths = [path_of(manifest) for manifest in [*manifests.base(), *simulated]]
    assert len(set(paths)) == len(paths)


def test_kubeconfig_reaches_the_host_port_with_a_client_of_the_authority(cluster: Cluster) -> None:
    pki.make_cluster_pki(cluster)
    text = cluster.kubeconfig.read_text()
    assert cluster.host_url in text
    assert cluster.kubeconfig.stat().st_mode & 0o077 == 0
    chain = ("verify", "-CAfile", str(cluster.pki / "ca.crt"), str(cluster.pki / "admin.crt"))
    pki.openssl(*chain)
    with pytest.raises(ClusterError, match="openssl verify failed"):
        pki.openssl(*chain[:-1], str(cluster.pki / "front-proxy-client.crt"))


# --- Services and claims -----------------------------------------------------------------------------


def test_only_tcp_node_ports_are_opened_on_loopback() -> None:
    entries: list[dict[str, Any]] = [
        {"port": 1, "nodePort": 30001},
        {"port": 2, "nodePort": 30002, "protocol": "UDP"},
        {"port": 3},
    ]
    assert nodeports.node_ports({"spec": {"ports": entries}}) == {30001}


def claim(**changes: Any) -> dict[str, Any]:
    metadata = {"name": "data", "namespace": "n", "uid": "u", "annotations": {volumes.SELECTED_NODE: "node-2"}}
    request = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"]}
    return {"metadata": metadata, "spec": {"storageClassName": "local", **request, **changes}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (claim(), True),
        (claim(volumeName="bound"), False),
        (claim(storageClassName="other"), False),
        ({**claim(), "metadata": {"name": "data", "namespace": "n", "uid": "u"}}, False),
    ],
)
def test_which_claims_are_served(found: dict[str, Any], expected: bool) -> None:
    assert volumes.is_waiting(found) is expected


def test_a_volume_is_bound_to_the_claim_and_to_the_node_of_its_pod(cluster: Cluster) -> None:
    volume = volumes.volume_for(cluster, claim())
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["node-2"]
    assert volume["spec"]["claimRef"]["uid"] == "u"
    assert not volumes.is_released(volume)
    assert volumes.is_released({**volume, "status": {"phase": "Released"}})


# --- command line and builds -------------------------------------------------------------------------


def test_node_labels_are_read_from_the_command_line() -> None:
    found = cli.parse_labels(["node-1=a=b", "node-2=c=d", "node-2=e=f"])
    assert found == {"node-1": {"a": "b"}, "node-2": {"c": "d", "e": "f"}}
    with pytest.raises(ClusterError, match=r"node-2=tephra\.dev/site=rome"):
        cli.parse_labels(["rome"])


def test_errors_are_one_line_and_code_1(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--name", "nobody"]) == 1
    assert capsys.readouterr().err.startswith("error: there is no cluster 'nobody'")


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    commands = ("up", "down", "status", "list", "kubeconfig", "load", "logs", "kill", "stop", "start", "exec", "doctor")
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            cli.main([command, "--help"])
        assert ended.value.code == 0
    assert "python3 -m cluster doctor" in capsys.readouterr().out


def test_honoured_assets_must_be_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(ClusterError, match="lacks kube-apiserver, kubectl"):
        build.honoured_assets()
    for name in build.HONOURED[1:]:
        (tmp_path / name).touch(mode=0o755)
    assert build.honoured_assets()["kubectl"] == tmp_path / "kubectl"


def test_a_program_is_keyed_by_its_source_and_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "SOURCE", tmp_path)
    monkeypatch.setattr(build, "go_version", lambda go: (1, 26))
    for file in ("go.mod", "go.sum"):
        (tmp_path / file).touch()
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "main.go").write_text("package main")
    program = build.Program("p", "./p", 1)
    before = build.build_key(program, "go")
    assert build.build_key(program, "go") == before
    (tmp_path / "p" / "main.go").write_text("package main // changed")
    assert build.build_key(program, "go") != before
