"""Removes a cluster completely, whatever state it is in.

It trusts no record: processes are found by the mark in their environment, by their network
namespace and by their control group; namespaces, groups and mounts by their names. So it works half
way through a start and after the supervisor was killed, and it is idempotent.
"""

import os
import shutil
import time
from pathlib import Path

from cluster import cgroups, limits, netns, procs
from cluster.errors import ClusterError
from cluster.netns import command
from cluster.spec import clusters_dir

PATIENCE = 20.0


def processes(name: str) -> set[int]:
    """Every process of a cluster but this one."""
    inodes = [inode for ns in netns.of_cluster(name) if (inode := netns.inode(ns))]
    found = procs.marked(clusters_dir() / name) | procs.in_network_namespaces(inodes)
    for group in cgroups.of_cluster(name):
        found |= cgroups.processes(group)
    return found - {os.getpid()}


def kill_all(name: str) -> None:
    """Kill until nothing is left: a supervisor may have started something in between."""
    deadline = time.monotonic() + PATIENCE
    while pids := processes(name):
        for pid in sorted(pids):
            procs.kill(pid)
        if time.monotonic() > deadline:
            raise ClusterError(f"cluster {name!r}: processes {sorted(pids)} do not end; look at them with ps")
        time.sleep(0.02)


def mounts_below(directory: Path) -> list[str]:
    """Mount points below a directory in this mount namespace, deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [point for point in points if Path(point).is_relative_to(directory)]
    return sorted(below, key=len, reverse=True)


def remove_groups(name: str) -> None:
    """Remove the control groups; the kernel may need a moment after the last process."""
    deadline = time.monotonic() + PATIENCE
    while groups := cgroups.of_cluster(name):
        for group in groups:
            try:
                cgroups.remove(group)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ClusterError(f"cannot remove control group {group}: {error}") from error
                time.sleep(0.02)


def leftovers(name: str) -> list[str]:
    """Everything of a cluster that exists, one line each; [] after a clean teardown."""
    return [
        *(f"process {pid}" for pid in sorted(processes(name))),
        *(f"mount {point}" for point in mounts_below(clusters_dir() / name)),
        *(f"network namespace {namespace}" for namespace in netns.of_cluster(name)),
        *(f"control group {group}" for group in cgroups.of_cluster(name)),
        *([f"directory {clusters_dir() / name}"] if (clusters_dir() / name).exists() else []),
    ]


def down(name: str) -> bool:
    """Remove the cluster; False if there was nothing of it."""
    if not leftovers(name):
        return False
    directory = clusters_dir() / name
    if directory.exists() and not (directory / "spec.json").exists():
        raise ClusterError(f"{directory} is no cluster's directory (it has no spec.json); remove it yourself")
    kill_all(name)
    for point in mounts_below(directory):
        command("umount", "--lazy", point)
    for namespace in netns.of_cluster(name):
        command("ip", "netns", "delete", namespace)
    remove_groups(name)
    if directory.exists():
        shutil.rmtree(directory)
    limits.restore_inotify()
    return True
