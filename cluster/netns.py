"""Network namespaces: the hub of the control plane, one per node, and the links between them.

Shape of a cluster's network, none of which the host's network can see:

    hub: bridge br0 198.18.0.1/16  ──veth── node-1: eth0 198.18.0.11/16, pods 10.244.0.0/23
                                   ──veth── node-2: eth0 198.18.0.12/16, pods 10.244.2.0/23

Every namespace has a route to every node's pods; whatever else leaves a pod ends in the hub, which
refuses it, so nothing leaves the machine. `cluster.setup` calls this; everything is idempotent.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.errors import ClusterError
from cluster.spec import HUB_ADDRESS, HUB_PREFIX, Cluster, Node

RUN = Path("/run/netns")
CLONE_NEWNET = 0x40000000


def command(*argv: str, stdin: str | None = None) -> str:
    """Run a command and return what it printed; ClusterError with its words if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, input=stdin)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(argv)} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def exists(namespace: str) -> bool:
    """Whether the namespace is there."""
    return (RUN / namespace).exists()


def _make(namespace: str) -> None:
    command("ip", "netns", "add", namespace)
    command("ip", "-n", namespace, "link", "set", "lo", "up")
    command("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def make_hub(cluster: Cluster) -> None:
    """Make the control plane's namespace with its bridge."""
    if exists(cluster.hub):
        return
    _make(cluster.hub)
    batch = [
        "link add br0 type bridge",
        f"addr add {HUB_ADDRESS}/{HUB_PREFIX} dev br0",
        "link set br0 up",
        "route add unreachable default",
    ]
    command("ip", "-n", cluster.hub, "-batch", "-", stdin="\n".join(batch))


def make_node(cluster: Cluster, node: Node) -> None:
    """Make a node's namespace, link it to the hub, and tell every namespace the way to its pods."""
    if not exists(node.netns):
        _make(node.netns)
        port = f"n{node.index + 1}"
        link = f"link add {port} type veth peer name eth0 netns {node.netns}"
        batch = [link, f"link set {port} master br0 up"]
        command("ip", "-n", cluster.hub, "-batch", "-", stdin="\n".join(batch))
        batch = [
            f"addr add {node.address}/{HUB_PREFIX} dev eth0",
            "link set eth0 up",
            f"route add default via {HUB_ADDRESS}",
        ]
        command("ip", "-n", node.netns, "-batch", "-", stdin="\n".join(batch))


def connect(cluster: Cluster) -> None:
    """Route every node's pod range in every other namespace."""
    for namespace, own in [(cluster.hub, None), *((node.netns, node) for node in cluster.members)]:
        batch = [f"route replace {n.pod_cidr} via {n.address}" for n in cluster.members if n != own]
        if batch:
            command("ip", "-n", namespace, "-batch", "-", stdin="\n".join(batch))


def of_cluster(name: str) -> list[str]:
    """Names of all namespaces that belong to a cluster, also of one that is half made."""
    prefix = f"tephra-{name}-"
    names = sorted(entry.name for entry in RUN.iterdir()) if RUN.is_dir() else []
    return [n for n in names if n == prefix + "hub" or _is_node(n.removeprefix(prefix), n)]


def _is_node(rest: str, whole: str) -> bool:
    return rest != whole and rest.startswith("node-") and rest.removeprefix("node-").isdigit()


def inode(namespace: str) -> int | None:
    """Identity of a namespace, as `/proc/PID/ns/net` shows it; None if it is gone."""
    try:
        return (RUN / namespace).stat().st_ino
    except FileNotFoundError:
        return None


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Run the block with this thread in a network namespace; sockets made there stay there."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(RUN / namespace, os.O_RDONLY)
        try:
            if libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter network namespace {namespace}")
        finally:
            os.close(there)
        try:
            yield
        finally:
            libc.setns(home, CLONE_NEWNET)
    finally:
        os.close(home)
