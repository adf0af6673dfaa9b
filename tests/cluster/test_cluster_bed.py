"""The bed itself: what the one-machine cluster promises, asked of the running thing."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cluster import build, procs, spec, supervisor, teardown
from cluster.images.oci import ImageConfig, scratch_image
from tests.support import bed
from tests.support.bed import Bed

pytestmark = pytest.mark.cluster

IMAGE = "localhost/tephra/testpod:1"
NODES = ("node-1", "node-2")


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Ask until the answer is true; the test fails if that takes too long."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.02)
    return answer


@pytest.fixture(scope="module")
def ours(cluster: Bed, tmp_path_factory: pytest.TempPathFactory) -> Bed:
    """The session's cluster with the test image in it; skipped where parts cannot be killed."""
    if cluster.name is None:
        pytest.skip("TEPHRA_TEST_KUBECONFIG names a cluster that this launcher did not make")
    archive = tmp_path_factory.mktemp("image") / "testpod.tar"
    binary = (build.assets() / "testpod").resolve()
    scratch_image(archive, IMAGE, {"/testpod": binary}, ImageConfig(entrypoint=("/testpod",)))
    cluster.command("load", str(archive))
    return cluster


class Namespace:
    """A namespace with helpers that speak the test pod's language."""

    def __init__(self, bed: Bed, name: str) -> None:
        self.bed = bed
        self.name = name

    def apply(self, *manifests: dict[str, Any]) -> None:
        """Apply manifests into the namespace."""
        for manifest in manifests:
            self.bed.kubectl("apply", "-n", self.name, "-f", "-", stdin=json.dumps(manifest))

    def server(self, name: str, node: str, **labels: str) -> str:
        """Start a pod that answers its name on port 8080, wait until it is Ready; returns its address."""
        self.apply(pod(name, node, labels or {"app": name}, "serve", ":8080", name))
        self.wait(f"pod/{name}")
        return self.bed.kubectl("get", "pod", "-n", self.name, name, "-o", "jsonpath={.status.podIP}")

    def wait(self, what: str, condition: str = "condition=Ready") -> None:
        """Wait for a condition."""
        self.bed.kubectl("wait", "-n", self.name, what, f"--for={condition}", "--timeout=60s")

    def exec(self, name: str, *arguments: str) -> str:
        """Run the test program in a pod; '' if it fails."""
        whole = ("exec", "-n", self.name, name, "--", "/testpod", *arguments)
        return self.bed.kubectl(*whole, check=False).strip()

    def get(self, name: str, address: str) -> str:
        """What the server at an address answers to a pod; '' if it cannot be reached."""
        return self.exec(name, "get", address)


def pod(name: str, node: str, labels: dict[str, str], *arguments: str) -> dict[str, Any]:
    """A pod on a node, with the port `web`."""
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "ports": [{"name": "web", "containerPort": 8080}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    spec_ = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec_}


def service(name: str, type_: str = "ClusterIP") -> dict[str, Any]:
    """A Service of the pods with label app=<name>."""
    spec_ = {"type": type_, "selector": {"app": name}, "ports": [{"port": 80, "targetPort": "web"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec_}


def policy(name: str, selector: dict[str, str], **directions: list[dict[str, Any]]) -> dict[str, Any]:
    """A NetworkPolicy; give `ingress` and `egress` as lists of rules."""
    spec_ = {
        "podSelector": {"matchLabels": selector},
        "policyTypes": [direction.capitalize() for direction in directions],
        **directions,
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": spec_,
    }


@pytest.fixture
def namespace(ours: Bed) -> Iterator[Namespace]:
    """A namespace of its own."""
    name = f"bed-{uuid4().hex[:6]}"
    ours.kubectl("create", "namespace", name)
    try:
        yield Namespace(ours, name)
    finally:
        ours.kubectl("delete", "namespace", name, "--wait=false")


def offers_no_more_than_the_machine(bed: Bed) -> bool:
    """Whether the nodes' allocatable processors add up to at most what one of them sees."""
    statuses = [node["status"] for node in json.loads(bed.kubectl("get", "nodes", "-o", "json"))["items"]]
    offered = sum(float(status["allocatable"]["cpu"].replace("m", "e-3")) for status in statuses)
    return offered <= float(statuses[0]["capacity"]["cpu"])


def test_nodes_share_the_machine_and_take_many_pods(ours: Bed) -> None:
    assert offers_no_more_than_the_machine(ours)
    nodes = json.loads(ours.kubectl("get", "nodes", "-o", "json"))["items"]
    assert len(nodes) == 2
    assert all(int(node["status"]["allocatable"]["pods"]) >= 200 for node in nodes)


def test_pods_reach_each_other_by_address_service_and_name(namespace: Namespace) -> None:
    """On the same node, across nodes, through the VIP with the endpoint on either node, and by DNS name."""
    addresses = {f"s{node[-1]}": namespace.server(f"s{node[-1]}", node) for node in NODES}
    namespace.apply(service("s1"), service("s2"))
    for client in addresses:
        for server, address in addresses.items():
            assert namespace.get(client, f"{address}:8080") == server
            until(partial(namespace.get, client, f"{server}.{namespace.name}.svc.cluster.local:80"))
            assert namespace.get(client, f"{server}.{namespace.name}:80") == server


def test_claim_gets_a_volume_that_outlives_its_pod_and_is_removed_with_the_claim(namespace: Namespace) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    user = pod("writer", "node-2", {}, "serve", ":8080", "writer")
    user["spec"]["securityContext"] = {"runAsUser": 65532, "fsGroup": 65532}
    user["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    user["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    namespace.apply(claim, user)
    namespace.wait("pod/writer")
    namespace.exec("writer", "write", "/data/file", "kept")
    namespace.bed.kubectl("delete", "pod", "-n", namespace.name, "writer")
    namespace.apply(user)
    namespace.wait("pod/writer")
    assert namespace.exec("writer", "read", "/data/file") == "kept"
    volume = namespace.bed.kubectl("get", "pvc", "-n", namespace.name, "data", "-o", "jsonpath={.spec.volumeName}")
    folder = spec.clusters_dir() / str(namespace.bed.name) / "volumes" / volume
    assert (folder / "file").read_text() == "kept"
    namespace.bed.kubectl("delete", "-n", namespace.name, "pod/writer", "pvc/data")
    namespace.bed.kubectl("wait", f"pv/{volume}", "--for=delete", "--timeout=30s")
    assert not folder.exists()


def answer_on_host(port: int) -> str:
    """What the host's loopback answers on a port; '' if nothing does."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.makefile().read().strip()
    except OSError:
        return ""


def test_node_port_answers_on_the_hosts_loopback_and_closes_with_the_service(namespace: Namespace) -> None:
    namespace.server("web", "node-2")
    namespace.apply(service("web", "NodePort"))
    where = ("get", "service", "-n", namespace.name, "web", "-o", "jsonpath={.spec.ports[0].nodePort}")
    port = int(namespace.bed.kubectl(*where))
    assert port in spec.require(str(namespace.bed.name)).nodeports
    assert until(lambda: answer_on_host(port)) == "web"
    namespace.bed.kubectl("delete", "service", "-n", namespace.name, "web")
    until(lambda: not answer_on_host(port))


@pytest.mark.parametrize("client_node", NODES, ids=["same-node", "cross-node"])
def test_policies_deny_what_they_do_not_allow(namespace: Namespace, client_node: str) -> None:
    """By label, by address and through the VIP; the probes of the pod's own node still make it Ready."""
    address = namespace.server("server", "node-1")
    namespace.server("friend", client_node, role="friend")
    namespace.server("stranger", client_node, role="stranger")
    namespace.apply(service("server"))
    until(lambda: namespace.get("stranger", "server:80") == "server")
    allowed = {"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}], "ports": [{"port": "web"}]}
    namespace.apply(policy("only-friends", {"app": "server"}, ingress=[allowed]))
    until(lambda: not namespace.get("stranger", f"{address}:8080"))
    assert not namespace.get("stranger", "server:80")
    assert namespace.get("friend", f"{address}:8080") == "server"
    assert namespace.get("friend", "server:80") == "server"
    namespace.server("probed", "node-1", app="server")
    namespace.bed.kubectl("label", "pod", "-n", namespace.name, "stranger", "role=friend", "--overwrite")
    until(lambda: namespace.get("stranger", f"{address}:8080"))
    namespace.bed.kubectl("delete", "networkpolicy", "-n", namespace.name, "only-friends")
    namespace.bed.kubectl("label", "pod", "-n", namespace.name, "stranger", "role-")
    until(lambda: namespace.get("stranger", f"{address}:8080"))


def test_egress_policy_closes_dns_unless_it_allows_it(namespace: Namespace) -> None:
    address = namespace.server("server", "node-2")
    namespace.apply(service("server"))
    namespace.server("client", "node-1")
    until(lambda: namespace.get("client", "server:80"))
    to_server = {"to": [{"ipBlock": {"cidr": f"{address}/32"}}]}
    namespace.apply(policy("narrow", {"app": "client"}, egress=[to_server]))
    until(lambda: not namespace.get("client", "server:80"))
    assert namespace.get("client", f"{address}:8080") == "server"
    dns = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
    }
    namespace.apply(policy("narrow", {"app": "client"}, egress=[to_server, dns]))
    until(lambda: namespace.get("client", "server:80"))


def test_a_new_pod_never_runs_outside_its_policies(namespace: Namespace) -> None:
    """A pod that tries to get out the moment it starts is refused already: the CNI plugin waits for its rules."""
    address = namespace.server("server", "node-1")
    namespace.apply(policy("closed", {"app": "burglar"}, egress=[]))
    for name, app in (("burglar-1", "burglar"), ("burglar-2", "burglar"), ("guest", "guest")):
        caller = pod(name, "node-1", {"app": app}, "get", f"{address}:8080")
        caller["spec"]["restartPolicy"] = "Never"
        del caller["spec"]["containers"][0]["readinessProbe"]
        namespace.apply(caller)
    namespace.wait("pod/burglar-1", "jsonpath={.status.phase}=Failed")
    namespace.wait("pod/burglar-2", "jsonpath={.status.phase}=Failed")
    namespace.wait("pod/guest", "jsonpath={.status.phase}=Succeeded")


@pytest.mark.parametrize(
    "component",
    [
        *("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "forward", "agent"),
        *("netpol-testpart", "node-1/containerd", "node-1/kubelet", "node-1/kube-proxy"),
    ],
)
def test_killed_component_is_back_and_pods_still_start(namespace: Namespace, component: str) -> None:
    cluster = spec.require(str(namespace.bed.name))
    before = supervisor.records(cluster)["components"][component]
    node, _, name = component.rpartition("/")
    namespace.bed.command("kill", name, *(["--node", node] if node else []))

    def is_back() -> bool:
        now = supervisor.records(cluster)["components"][component]
        return bool(now["pid"]) and now["pid"] != before["pid"]

    until(is_back, 10)
    until(lambda: "ok" in namespace.bed.kubectl("get", "--raw", "/readyz", check=False))
    until(lambda: namespace.bed.kubectl("get", "serviceaccount", "-n", namespace.name, "default", check=False))
    namespace.server("after", "node-1")


def test_stopped_kubelet_stays_down_until_started(namespace: Namespace) -> None:
    cluster = spec.require(str(namespace.bed.name))
    namespace.bed.command("stop", "kubelet", "--node", "node-2")
    try:
        until(lambda: not supervisor.records(cluster)["components"]["node-2/kubelet"]["pid"])
        namespace.apply(pod("late", "node-2", {}, "serve", ":8080", "late"))
        namespace.wait("pod/late", "condition=PodScheduled")
    finally:
        namespace.bed.command("start", "kubelet", "--node", "node-2")
    namespace.wait("pod/late")


def test_cluster_grows_by_a_labelled_node_while_it_runs() -> None:
    with bed.fresh(1, suffix="-g") as growing:
        bed.launch("up", "--name", str(growing.name), "--nodes", "2", "--node-label", "node-2=tephra.dev/site=oslo")
        until(lambda: offers_no_more_than_the_machine(growing))
        assert growing.kubectl("get", "nodes", "-l", "tephra.dev/site=oslo", "-o", "name").strip() == "node/node-2"


def test_new_supervisor_adopts_what_a_killed_one_left(ours: Bed) -> None:
    cluster = spec.require(str(ours.name))
    before = supervisor.records(cluster)
    procs.kill(before["supervisor"]["pid"])
    until(lambda: not supervisor.is_running(cluster))
    bed.launch("up", "--name", cluster.name, "--nodes", str(cluster.nodes))
    after = supervisor.records(cluster)
    assert {n: r["pid"] for n, r in after["components"].items()} == {
        n: r["pid"] for n, r in before["components"].items()
    }


def test_audit_log_names_every_change(namespace: Namespace) -> None:
    mark = f"marked-{uuid4().hex[:6]}"
    namespace.bed.kubectl("create", "configmap", "-n", namespace.name, mark)
    log = spec.require(str(namespace.bed.name)).audit_log
    events = [json.loads(line) for line in log.read_text().splitlines() if mark in line]
    created = [event for event in events if event["verb"] == "create"]
    assert [event["user"]["username"] for event in created] == ["tephra-admin"]
    assert created[0]["objectRef"]["resource"] == "configmaps"
    assert created[0]["responseStatus"]["code"] == 201
    assert not any(json.loads(line)["verb"] in ("get", "list", "watch") for line in log.read_text().splitlines()[-500:])


def test_second_cluster_lives_beside_the_first_and_down_leaves_nothing(ours: Bed) -> None:
    """Also with its supervisor killed, and for one whose start was cut half way."""
    with bed.fresh(1, suffix="-b") as second:
        name = str(second.name)
        assert spec.require(name).slot != spec.require(str(ours.name)).slot
        assert len(json.loads(second.kubectl("get", "nodes", "-o", "json"))["items"]) == 1
        procs.kill(supervisor.records(spec.require(name))["supervisor"]["pid"])
        bed.launch("down", "--name", name)
        assert teardown.leftovers(name) == []
    assert len(json.loads(ours.kubectl("get", "nodes", "-o", "json"))["items"]) == 2


def test_down_after_a_start_cut_half_way_leaves_nothing() -> None:
    name = f"tephra-test-cut-{uuid4().hex[:6]}"
    starting = subprocess.Popen(["python3", "-m", "cluster", "up", "--name", name], cwd=bed.ROOT)
    try:
        until((spec.clusters_dir() / name / "nodes" / "node-1" / "holder.pid").exists)
    finally:
        starting.kill()
        starting.wait()
        bed.launch("down", "--name", name)
    assert teardown.leftovers(name) == []


def test_simulated_nodes_are_ready_and_marked_as_such() -> None:
    with bed.fresh(1, "--kwok-nodes", "5", suffix="-k") as simulated:
        nodes = json.loads(simulated.kubectl("get", "nodes", "-l", "type=kwok", "-o", "json"))["items"]
        assert len(nodes) == 5
        assert all(node["spec"]["taints"][0]["key"] == "kwok.x-k8s.io/node" for node in nodes)


def test_loading_an_image_twice_says_that_it_is_present(ours: Bed, tmp_path: Path) -> None:
    archive = tmp_path / "twice.tar"
    scratch_image(
        archive, f"localhost/tephra/twice:{uuid4().hex[:6]}", {"/file": b"content"}, ImageConfig(entrypoint=("/file",))
    )
    assert "loaded into node-1, node-2" in ours.command("load", str(archive))
    assert "present" in ours.command("load", str(archive))
