"""What a cluster is: its names, addresses, ports and paths, and the file that records them.

Every other module asks here for a path or an address, so that two clusters can never share one.
Pure but for `save`, `load` and `clusters`, which read and write `spec.json` in the state directory.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cluster.errors import ClusterError

# RFC 2544 keeps 198.18.0.0/15 for tests inside one network: no real peer is ever hidden by it.
HUB_ADDRESS = "198.18.0.1"
HUB_PREFIX = 16
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
API_VIP = "10.96.0.1"
DNS_VIP = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
API_PORT_INSIDE = 6443

NODEPORTS_PER_CLUSTER = 200
FIRST_NODEPORT = 30000
SLOTS = (32768 - FIRST_NODEPORT) // NODEPORTS_PER_CLUSTER
FIRST_API_PORT = 16443

MAX_NODES = 100  # node i has address 198.18.0.(11+i) and pod range 10.244.(2i).0/23
NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def clusters_dir() -> Path:
    """Directory that holds one state directory per cluster."""
    return Path(os.environ.get("TEPHRA_CLUSTER_DIR", "/var/lib/tephra-clusters"))


def check_name(name: str) -> str:
    """Return `name` if it can name a cluster, else raise ClusterError."""
    if not NAME_PATTERN.fullmatch(name):
        raise ClusterError(f"cluster name {name!r}: use 1 to 40 lower-case letters, digits and '-', not first or last")
    return name


@dataclass(frozen=True)
class Node:
    """One real node: a network namespace, a mount namespace, a containerd, a kubelet, a kube-proxy."""

    cluster: str
    index: int
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the Node object."""
        return f"node-{self.index + 1}"

    @property
    def address(self) -> str:
        """InternalIP of the node."""
        return f"198.18.0.{11 + self.index}"

    @property
    def pod_cidr(self) -> str:
        """Range the pods of this node get their addresses from (510 pods)."""
        return f"10.244.{2 * self.index}.0/23"

    @property
    def netns(self) -> str:
        """Name of the network namespace."""
        return f"tephra-{self.cluster}-{self.name}"

    @property
    def cgroup(self) -> str:
        """Name of the node's cgroup in every hierarchy."""
        return f"tephra-{self.cluster}-{self.name}"

    @property
    def dir(self) -> Path:
        """Everything the node keeps on disk."""
        return clusters_dir() / self.cluster / "nodes" / self.name


@dataclass(frozen=True)
class Cluster:
    """One cluster as recorded in `spec.json`."""

    name: str
    slot: int
    api_port: int
    nodes: int = 1
    kwok_nodes: int = 0
    node_labels: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def dir(self) -> Path:
        """State directory."""
        return clusters_dir() / self.name

    @property
    def hub(self) -> str:
        """Network namespace of the control plane, where the nodes' links meet on a bridge."""
        return f"tephra-{self.name}-hub"

    @property
    def members(self) -> list[Node]:
        """The real nodes."""
        return [Node(self.name, i, self.node_labels.get(f"node-{i + 1}", {})) for i in range(self.nodes)]

    def member(self, name: str) -> Node:
        """The real node called `name`; ClusterError if there is none."""
        for node in self.members:
            if node.name == name:
                return node
        raise ClusterError(f"cluster {self.name!r} has no node {name!r}; it has node-1 to node-{self.nodes}")

    @property
    def nodeports(self) -> range:
        """NodePorts of this cluster; the same numbers are open on the host's loopback."""
        first = FIRST_NODEPORT + self.slot * NODEPORTS_PER_CLUSTER
        return range(first, first + NODEPORTS_PER_CLUSTER)

    @property
    def host_url(self) -> str:
        """The API server as seen from the host."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def inside_url(self) -> str:
        """The API server as seen from the cluster's namespaces."""
        return f"https://{HUB_ADDRESS}:{API_PORT_INSIDE}"

    @property
    def pki(self) -> Path:
        """Directory of keys and certificates."""
        return self.dir / "pki"

    @property
    def programs(self) -> Path:
        """Directory of the programs, by name."""
        return self.dir / "bin"

    @property
    def logs(self) -> Path:
        """Directory of the components' logs."""
        return self.dir / "logs"

    @property
    def audit_log(self) -> Path:
        """Audit log of the API server: every mutating request, one JSON object per line."""
        return self.dir / "audit.log"

    @property
    def kubeconfig(self) -> Path:
        """Administrator's kubeconfig for use on the host."""
        return self.dir / "kubeconfig"


def save(cluster: Cluster) -> None:
    """Record the cluster in its state directory."""
    cluster.dir.mkdir(parents=True, exist_ok=True)
    cluster.dir.chmod(0o711)  # pods' volumes are below; the keys have modes of their own
    write_atomically(cluster.dir / "spec.json", json.dumps(asdict(cluster), indent=1))


def load(name: str) -> Cluster | None:
    """The recorded cluster, or None if there is none of that name."""
    try:
        text = (clusters_dir() / check_name(name) / "spec.json").read_text()
    except FileNotFoundError:
        return None
    return Cluster(**json.loads(text))


def require(name: str) -> Cluster:
    """The recorded cluster; ClusterError if there is none."""
    cluster = load(name)
    if cluster is None:
        known = ", ".join(sorted(clusters())) or "none"
        raise ClusterError(
            f"there is no cluster {name!r} (known: {known}); start it: python3 -m cluster up --name {name}"
        )
    return cluster


def clusters() -> dict[str, Cluster]:
    """All recorded clusters by name."""
    found = {}
    if clusters_dir().is_dir():
        for entry in clusters_dir().iterdir():
            if NAME_PATTERN.fullmatch(entry.name) and (cluster := load(entry.name)):
                found[entry.name] = cluster
    return found


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is made if need be; other processes wait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)
