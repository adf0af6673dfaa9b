"""quake in pods, the two ways that switch/README.md describes: unprivileged, and with kernel ports.

The pods' securityContexts are taken from that README, so what it promises is what runs here. Neighbours:
`tests/switch` asks what the process does, `cluster/images/switch.py` makes the image.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import spec
from cluster.images.oci import read_reference
from cluster.load import ctr
from cluster.node import PRIVATE
from tests.support.bed import Bed, output
from tests.support.quake import until
from tests.support.system import ROOT, System

pytestmark = pytest.mark.cluster

ARCHIVE = ROOT / "build/images/quake.tar"
UNPRIVILEGED, KERNEL_PORTS = (
    yaml.safe_load(block)["securityContext"]
    for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "switch/README.md").read_text(), re.DOTALL)
)
PRIVILEGED = {"pod-security.kubernetes.io/enforce": "privileged"}
PROFILE = "quake.json"
METRICS, OPENFLOW = 9474, 6653
HUGE_MIB = 256
LIMITS = {"memory": "256Mi"}
VOLUMES: dict[str, Any] = {"/run/quake": {"emptyDir": {}}, "/tmp": {"emptyDir": {}}}
TUN = {"/dev/net/tun": {"hostPath": {"path": "/dev/net/tun", "type": "CharDevice"}}}
TAP, PEER = "192.0.2.1", "192.0.2.2"


@pytest.fixture(scope="module")
def loaded(cluster: Bed) -> System:
    """The session's cluster with quake's image in it."""
    assert ARCHIVE.exists(), f"{ARCHIVE} is missing: run `make image-quake` first"
    if cluster.name:
        cluster.command("load", str(ARCHIVE))
    return System(cluster.kubeconfig, cluster.assets)


@pytest.fixture
def huge_pages(cluster: Bed, loaded: System) -> None:
    """Nodes that offer huge pages, and have the switch's seccomp profile where their kubelets look for it."""
    offered = [node["status"]["allocatable"].get("hugepages-2Mi", "0") for node in loaded.list("nodes")]
    free = re.search(r"HugePages_Free: +(\d+)", Path("/proc/meminfo").read_text())
    if cluster.name is None or "0" in offered or not free or int(free[1]) * 2 < HUGE_MIB:
        pytest.skip(f"needs nodes of ours that started with {HUGE_MIB} MiB of huge pages: see vm.nr_hugepages")
    for node in spec.require(cluster.name).members:
        profile = node.dir / PRIVATE["/var/lib/kubelet"] / "seccomp" / PROFILE
        profile.parent.mkdir(exist_ok=True)
        profile.write_bytes((ROOT / "switch/seccomp.json").read_bytes())


class Pod:
    """A pod `quake` in a namespace; Ready once made. Further keys are of its container."""

    def __init__(self, system: System, namespace: str, *args: str, tun: bool = False, **container: Any) -> None:
        self.system, self.namespace = system, namespace
        system.apply(manifest(namespace, VOLUMES | (TUN if tun else {}), *args, **container))
        system.wait("pod", "quake", namespace)

    def exec(self, *command: str, check: bool = True) -> str:
        """What a command in the container prints; '' if it fails and may."""
        done = self.system.run("kubectl", "exec", "-n", self.namespace, "quake", "--", *command, check=check)
        return done.stdout if done.returncode == 0 else ""

    def quakectl(self, *arguments: str, check: bool = True) -> Any:
        """The answer of the switch to quakectl; None if there is none and may be."""
        return json.loads(self.exec("quakectl", "--json", *arguments, check=check) or "null")

    def ports(self) -> dict[str, dict[str, Any]]:
        return {port["name"]: port for port in self.quakectl("ports")}

    def rules(self) -> list[str]:
        """Flows as ovs-ofctl writes them, without their counters."""
        flows = self.quakectl("dump-flows")["flows"]
        return [flow["rule"].split("priority=")[1] for flow in flows]

    def add_rules(self, *rules: str) -> None:
        """Install rules by OpenFlow, as a controller that connects through the API server."""
        with self._forwarded(OPENFLOW) as port:
            output(["ovs-ofctl", "-O", "OpenFlow13", "add-flows", f"tcp:127.0.0.1:{port}", "-"], "\n".join(rules))

    @contextmanager
    def _forwarded(self, port: int) -> Iterator[int]:
        """A port of loopback that leads to one of the pod's."""
        kubectl = [f"{self.system.assets}/kubectl", f"--kubeconfig={self.system.kubeconfig}"]
        command = [*kubectl, "port-forward", "-n", self.namespace, "pod/quake", f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            try:
                said = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", process.stdout.readline())
                assert said, "kubectl forwards nothing; its error is above"
                yield int(said[1])
            finally:
                process.terminate()


def manifest(namespace: str, volumes: dict[str, Any], *args: str, **container: Any) -> dict[str, Any]:
    """A pod of the switch with volumes by their mount paths; its probes ask for /healthz."""
    probe = {"httpGet": {"path": "/healthz", "port": METRICS}, "periodSeconds": 1}
    names = {path: path.strip("/").replace("/", "-") for path in volumes}
    common = {
        "name": "quake",
        "image": read_reference(ARCHIVE)[0],
        "imagePullPolicy": "IfNotPresent",
        "args": ["--metrics", f"0.0.0.0:{METRICS}", "--controller", f"ptcp:{OPENFLOW}", *args],
        "readinessProbe": probe,
        "livenessProbe": probe,
        "resources": {"requests": {"cpu": "100m"}, "limits": LIMITS},
        "volumeMounts": [{"name": name, "mountPath": path} for path, name in names.items()],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "quake", "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [common | container],
            "volumes": [{"name": names[path]} | source for path, source in volumes.items()],
        },
    }


def test_unprivileged_with_ordinary_pages(loaded: System) -> None:
    with loaded.namespace("quake") as namespace:
        outlives_its_worker(Pod(loaded, namespace, securityContext=UNPRIVILEGED))


def test_unprivileged_with_huge_pages(loaded: System, huge_pages: None) -> None:
    """The same with the seccomp profile that is shipped."""
    context = UNPRIVILEGED | {"seccompProfile": {"type": "Localhost", "localhostProfile": PROFILE}}
    resources = {"requests": {"cpu": "100m"}, "limits": LIMITS | {"hugepages-2Mi": f"{HUGE_MIB}Mi"}}
    with loaded.namespace("quake") as namespace:
        outlives_its_worker(Pod(loaded, namespace, "--hugepages", securityContext=context, resources=resources))


def outlives_its_worker(pod: Pod) -> None:
    """Ports of both kinds and a rule are back after the worker process was killed."""
    pod.quakectl("port-add", "m", "memif", "socket=/run/quake/m.sock", "number=7")
    pod.quakectl("port-add", "v", "vhost-user", "socket=/run/quake/v.sock", "number=9")
    pod.add_rules("in_port=7,actions=output:9")
    rules = pod.rules()
    assert rules == ["32768,in_port=7 actions=output:9"]
    # Process 1 supervises; the first of its children works, the second waits for its turn.
    pod.exec("sh", "-c", "read worker spare </proc/1/task/1/children; kill -9 $worker")
    # The journal lies in process 1's memory: only a pod that was not restarted can restore from it.
    until(lambda: (pod.quakectl("show", check=False) or {}).get("restored", False))
    ports = {name: (port["number"], port["spec"]["type"], port["link"]) for name, port in pod.ports().items()}
    assert ports == {"m": (7, "memif", "down"), "v": (9, "vhost-user", "down")}  # open, and nobody connected
    assert pod.rules() == rules
    (status,) = pod.system.get("pod", "quake", pod.namespace)["status"]["containerStatuses"]
    assert status["restartCount"] == 0


def test_kernel_ports_carry_packets(cluster: Bed, loaded: System) -> None:
    """A veth pair's end in the pod is one port, a TAP device with an address the other: TCP passes through both.

    What answers is the pod's own exporter, so a request crosses the switch twice.
    """
    if cluster.name is None:
        pytest.skip("putting a veth pair into a pod needs a cluster of ours")
    with loaded.namespace("quake", **PRIVILEGED) as namespace:
        pod = Pod(loaded, namespace, securityContext=KERNEL_PORTS, tun=True)
        with peer_of(process_of(pod, cluster.name)) as peer:
            pod.quakectl("port-add", "veth", "af_packet", "interface=s1", "number=1")
            pod.quakectl("port-add", "tap", "tap", "interface=t0", "number=2")
            peer.give_address("t0")
            pod.add_rules("in_port=1,actions=output:2", "in_port=2,actions=output:1")
            assert 'quake_port_up{port="veth",number="1"} 1' in peer.fetch(f"http://{TAP}:{METRICS}/metrics")
            counters = [port["statistics"] for port in pod.ports().values()]
            assert all(counter["rx_packets"] and counter["tx_packets"] for counter in counters)


def process_of(pod: Pod, cluster: str) -> int:
    """Process 1 of a pod, as the host numbers it."""
    status = pod.system.get("pod", "quake", pod.namespace)
    container = status["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    tasks = ctr(spec.require(cluster).member(status["spec"]["nodeName"]), "tasks", "list")
    return next(int(line.split()[1]) for line in tasks.splitlines() if line.startswith(container))


@dataclass(frozen=True)
class Peer:
    """A network namespace of ours, wired to that of the pod whose process 1 is `pod`."""

    name: str
    pod: int

    def give_address(self, interface: str) -> None:
        """Make the pod's kernel answer at an interface of the pod."""
        output(["nsenter", f"--net=/proc/{self.pod}/ns/net", "ip", "addr", "add", f"{TAP}/24", "dev", interface])

    def fetch(self, url: str) -> str:
        """A page, asked for from here."""
        program = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode())"
        return output(["ip", "netns", "exec", self.name, sys.executable, "-c", program, url])


@contextmanager
def peer_of(pod: int) -> Iterator[Peer]:
    """A namespace with h1, the other end of s1 in the pod; gone on leaving, with the pair."""
    peer = Peer(f"quake-peer-{os.getpid()}", pod)
    output(["ip", "netns", "add", peer.name])
    try:
        pair = ["type", "veth", "peer", "name", "s1", "netns", str(pod)]
        output(["ip", "-n", peer.name, "link", "add", "h1", *pair])
        output(["ip", "-n", peer.name, "addr", "add", f"{PEER}/24", "dev", "h1"])
        output(["ip", "-n", peer.name, "link", "set", "h1", "up"])
        output(["nsenter", f"--net=/proc/{pod}/ns/net", "ip", "link", "set", "s1", "up"])
        yield peer
    finally:
        output(["ip", "netns", "del", peer.name])
