"""What the supervisor runs: one program of the cluster, and how to enter its namespaces."""

from dataclasses import dataclass
from pathlib import Path

from cluster.spec import Cluster, clusters_dir

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MARKER = "TEPHRA_CLUSTER"  # environment variable by which teardown knows every process of a cluster


@dataclass(frozen=True)
class Component:
    """One supervised program.

    `name` is unique in the cluster (`etcd`, `node-1/kubelet`); `netns` is the network namespace it
    runs in (None: the host's); `holder` is the file with the id of the process whose mount namespace it shares;
    `needs_api` delays its start until the API server is ready.
    """

    name: str
    argv: tuple[str, ...]
    netns: str | None
    holder: Path | None = None
    needs_api: bool = False

    @property
    def log_name(self) -> str:
        """File name of its log."""
        return self.name.replace("/", "-") + ".log"

    def command(self) -> list[str]:
        """The argv that becomes the program: nsenter replaces itself, so its pid is the program's."""
        if self.netns is None:
            return list(self.argv)
        enter = ["nsenter", f"--net=/run/netns/{self.netns}"]
        if self.holder:
            enter.append(f"--mount=/proc/{self.holder.read_text().strip()}/ns/mnt")
        return [*enter, "--", *self.argv]


def environment(cluster: Cluster) -> dict[str, str]:
    """Environment of every process of a cluster."""
    return {
        "PATH": PATH,
        "HOME": "/root",
        "TEPHRA_CLUSTER_DIR": str(clusters_dir()),
        MARKER: str(cluster.dir),
    }
