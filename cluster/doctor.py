"""Checks that the machine can run a cluster; each finding names its cause and the next step.

`cluster up` runs it first and stops at findings; `cluster doctor` prints them all.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster import build, cgroups, node
from cluster.component import PATH
from cluster.errors import ClusterError
from cluster.spec import clusters_dir

# Program → Debian package.
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "nft": "nftables",
    "iptables": "iptables",
    "openssl": "openssl",
    "nsenter": "util-linux",
    "sysctl": "procps",
}
DISK_GIB = 4.0
MEMORY_GIB = 2.0
LONGEST_SOCKET_PATH = 107  # sun_path of unix(7)


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, and the trouble with its next step ('' if all is well)."""

    what: str
    trouble: str = ""


def check() -> list[Finding]:
    """Run every check."""
    return [root(), packages(), containerd_version(), go(), bridge_filter(), groups(), disk(), memory(), paths()]


def require_healthy() -> None:
    """ClusterError with every trouble, if there is one."""
    troubles = [f"{finding.what}: {finding.trouble}" for finding in check() if finding.trouble]
    if troubles:
        raise ClusterError("this machine cannot run a cluster yet:\n  " + "\n  ".join(troubles))


def root() -> Finding:
    """Namespaces, mounts and groups need root."""
    return Finding("user", "" if os.geteuid() == 0 else "not root; run it with sudo")


def missing_packages() -> list[str]:
    """Debian packages that hold what is missing."""
    lacking = {package for program, package in PROGRAMS.items() if not shutil.which(program, path=PATH)}
    if not (node.CNI_PLUGINS / "bridge").exists():
        lacking.add("containernetworking-plugins")
    return sorted(lacking)


def packages() -> Finding:
    """Programs from the distribution."""
    lacking = " ".join(missing_packages())
    return Finding("packages", f"missing; run: apt-get install {lacking}" if lacking else "")


def containerd_version() -> Finding:
    """The configuration is of containerd 1.6 and 1.7."""
    if not shutil.which("containerd", path=PATH):
        return Finding("containerd", "not found; run: apt-get install containerd")
    words = subprocess.run(["containerd", "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"\bv?(\d+)\.(\d+)\.\d+", words)
    if number and (int(number[1]), int(number[2])) >= (1, 6) and number[1] == "1":
        return Finding("containerd")
    return Finding("containerd", f"{words.strip() or 'unknown version'}: install version 1.6 or 1.7")


def go() -> Finding:
    """A Go toolchain, or pip to fetch one, unless everything is built."""
    on_path = shutil.which("go")
    if on_path and build.go_version(on_path) >= build.GO_MINIMUM:
        return Finding("Go")
    has_pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    wanted = ".".join(map(str, build.GO_MINIMUM))
    trouble = "" if has_pip.returncode == 0 else f"no Go {wanted} on PATH and no pip to fetch it; install either"
    return Finding("Go", trouble)


def bridge_filter() -> Finding:
    """Services whose endpoint is on the same node need bridged packets to pass the firewall hooks."""
    if Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        return Finding("br_netfilter")
    loaded = subprocess.run(["modprobe", "br_netfilter"], capture_output=True, check=False).returncode == 0
    return Finding("br_netfilter", "" if loaded else "kernel module not loaded; run: modprobe br_netfilter")


def groups() -> Finding:
    """A group hierarchy that can be written."""
    try:
        found = cgroups.hierarchies()
    except FileNotFoundError:
        found = []
    writable = found and all(os.access(hierarchy, os.W_OK) for hierarchy in found)
    return Finding("control groups", "" if writable else f"{cgroups.ROOT} is not mounted or not writable")


def disk() -> Finding:
    """Room for images and volumes."""
    place = clusters_dir()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    trouble = f"{free:.1f} GiB free, {DISK_GIB:.0f} needed; make room or set TEPHRA_CLUSTER_DIR"
    return Finding(f"disk at {clusters_dir()}", trouble if free < DISK_GIB else "")


def memory() -> Finding:
    """Room for the control plane and the first node."""
    text = Path("/proc/meminfo").read_text()
    available = int(re.findall(r"MemAvailable:\s+(\d+)", text)[0]) / 2**20
    trouble = f"{available:.1f} GiB available, {MEMORY_GIB:.0f} needed; stop something"
    return Finding("memory", trouble if available < MEMORY_GIB else "")


def paths() -> Finding:
    """Unix sockets have short paths."""
    longest = len(str(clusters_dir())) + len("/" + "x" * 40 + "/supervisor.sock")
    trouble = f"{clusters_dir()} is too long for unix sockets; set a shorter TEPHRA_CLUSTER_DIR"
    return Finding("TEPHRA_CLUSTER_DIR", trouble if longest > LONGEST_SOCKET_PATH else "")
