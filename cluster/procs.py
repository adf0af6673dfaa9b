"""Processes by identity: an id alone may be re-used, an id with its start time may not.

Used by the supervisor (to adopt what an earlier supervisor started) and by teardown (to find every
process of a cluster, whatever became of the records).
"""

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cluster.component import MARKER


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot (proc(5), field 22); None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def rss_mib(pid: int) -> float:
    """Resident memory of a process in MiB, 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def every_pid() -> list[int]:
    """Ids of all processes."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def marked(state_dir: Path) -> set[int]:
    """Processes that were started for the cluster in `state_dir`, and their children."""
    needle = f"{MARKER}={state_dir}".encode()
    found = set()
    for pid in every_pid():
        with suppress(OSError):
            if needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def in_network_namespaces(inodes: Iterable[int]) -> set[int]:
    """Processes whose network namespace is one of these."""
    wanted = set(inodes)
    found = set()
    for pid in every_pid():
        with suppress(OSError):
            if os.stat(f"/proc/{pid}/ns/net").st_ino in wanted:
                found.add(pid)
    return found


def kill(pid: int) -> None:
    """Kill a process at once; no error if it is gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


async def exited(pid: int) -> None:
    """Return when the process has ended, whether or not it is a child; reap it if it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    reap(pid)


def reap(pid: int) -> None:
    """Take an ended child's exit code, so that it leaves the process table; others are left alone."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
