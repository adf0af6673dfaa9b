"""Puts images into every node's containerd, and makes the two images that a cluster itself needs.

An image that a node has under the same name and digest is not imported again. Archives are OCI
layouts as `cluster.images` writes them.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cluster.build import cache_dir
from cluster.errors import ClusterError
from cluster.images.oci import ImageConfig, read_reference, read_references, scratch_image
from cluster.kubeapi import wait_until
from cluster.manifests import COREDNS_IMAGE
from cluster.node import PAUSE_IMAGE, SOCKET, enter
from cluster.spec import Cluster, Node

CONTAINERD_SECONDS = 30


def ctr(node: Node, *argv: str) -> str:
    """Run containerd's client in a node; returns what it printed."""
    whole = enter(node, "/usr/bin/ctr", "--address", SOCKET, "--namespace", "k8s.io", *argv)
    done = subprocess.run(whole, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"{node.name}: ctr {' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout


def wait_for_containerd(node: Node) -> None:
    """Return when the node's containerd takes commands."""

    def answers() -> bool:
        try:
            return bool(ctr(node, "version"))
        except ClusterError:
            return False

    if not wait_until(answers, CONTAINERD_SECONDS, every=0.02):
        raise ClusterError(f"{node.name}: containerd did not start; see: python3 -m cluster logs containerd")


def has(node: Node, reference: str, digest: str) -> bool:
    """Whether the node has the image under this name and digest."""
    lines = ctr(node, "images", "list", f"name=={reference}").splitlines()
    return any(digest in line.split() for line in lines)


def load_into(node: Node, archive: Path) -> bool:
    """Import one archive into one node; False if the node has it already."""
    references, digest = read_references(archive)
    if all(has(node, reference, digest) for reference in references):
        return False
    ctr(node, "images", "import", str(archive.resolve()))
    return True


def load(cluster: Cluster, archives: list[Path]) -> list[str]:
    """Import archives into every node, nodes in parallel; returns one line per archive."""
    for archive in archives:
        if not archive.is_file():
            raise ClusterError(f"{archive}: no such file; build it: python3 -m cluster.images build")

    def fill(node: Node) -> list[bool]:
        return [load_into(node, archive) for archive in archives]

    with ThreadPoolExecutor() as pool:
        per_node = list(pool.map(fill, cluster.members))
    report = []
    for archive, *news in zip(archives, *per_node, strict=True):
        nodes = [node.name for node, new in zip(cluster.members, news, strict=True) if new]
        report.append(f"{read_reference(archive)[0]}: {'loaded into ' + ', '.join(nodes) if nodes else 'present'}")
    return report


def own_images(bin_dir: Path) -> list[Path]:
    """Archives of the pause container and of CoreDNS, made from the built programs when missing."""
    made = []
    for program, reference in (("pause", PAUSE_IMAGE), ("coredns", COREDNS_IMAGE)):
        binary = (bin_dir / program).resolve()
        archive = cache_dir() / "images" / f"{binary.name}.tar"
        if not archive.exists():
            config = ImageConfig(entrypoint=(f"/{program}",))
            scratch_image(archive, reference, {f"/{program}": binary}, config)
        made.append(archive)
    return made
