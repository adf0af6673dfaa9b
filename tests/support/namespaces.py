"""Network namespaces of a test's own: made, entered by this thread, and gone on leaving. Needs root."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNET = 0x40000000
NEEDS_ROOT = None if os.geteuid() == 0 else "network namespaces need root"


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """A fresh namespace named after `name` and this process."""
    own = f"{name}-{os.getpid()}"
    ip("netns", "add", own)
    try:
        yield own
    finally:
        ip("netns", "del", own)


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Have this thread, and what it starts, live in the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as home, Path(f"/run/netns/{name}").open() as there:
        _enter(libc, there.fileno(), name)
        try:
            yield
        finally:
            _enter(libc, home.fileno(), "that it came from")


def _enter(libc: ctypes.CDLL, descriptor: int, name: str) -> None:
    if libc.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"cannot enter network namespace {name}; run as root")
