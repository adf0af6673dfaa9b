"""Control groups of the nodes, in every hierarchy the host has (cgroup v1, v2 or both).

The kubelet wants its root group to exist; on v1 a new cpuset group is useless until it is given its
parent's processors and memory nodes. `cluster.setup` makes the groups, `cluster.teardown` empties
and removes them.
"""

from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


def hierarchies() -> list[Path]:
    """Mount point of every hierarchy: one per controller on v1, the only one on v2."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted(d for d in ROOT.iterdir() if d.is_dir() and not d.is_symlink() and (d / "cgroup.procs").exists())


def make(group: str) -> None:
    """Make the group in every hierarchy."""
    for hierarchy in hierarchies():
        directory = hierarchy / group
        directory.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (directory / file).exists() and not (directory / file).read_text().strip():
                (directory / file).write_text((hierarchy / file).read_text())
        if (hierarchy / "cgroup.controllers").exists():
            _delegate(hierarchy)
            _delegate(directory)


def _delegate(directory: Path) -> None:
    available = (directory / "cgroup.controllers").read_text().split()
    for controller in V2_CONTROLLERS:
        if controller in available:
            (directory / "cgroup.subtree_control").write_text(f"+{controller}")


def of_cluster(name: str) -> list[Path]:
    """Every group directory of a cluster's nodes, in every hierarchy."""
    found = []
    for hierarchy in hierarchies():
        for directory in hierarchy.glob(f"tephra-{name}-node-*"):
            if directory.name.removeprefix(f"tephra-{name}-node-").isdigit():
                found.append(directory)
    return found


def processes(directory: Path) -> set[int]:
    """Process ids in a group and all groups below it."""
    pids: set[int] = set()
    for file in directory.rglob("cgroup.procs"):
        with suppress(FileNotFoundError, OSError):
            pids.update(int(line) for line in file.read_text().split())
    return pids


def remove(directory: Path) -> None:
    """Remove a group and all groups below it, deepest first; they must hold no process."""
    with suppress(FileNotFoundError):
        for child in directory.iterdir():
            if child.is_dir():
                remove(child)
        directory.rmdir()
