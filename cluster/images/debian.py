"""Layers of Debian packages, taken apart without running a maintainer script.

Packages are listed by hand (a dozen each, no solver): an image holds what it runs and nothing that only serves
its own installation. apt fetches them from the host's sources and checks their signatures; ``dpkg-deb``
unpacks; the trees are merged into ``/usr``, trimmed, and handed to ``recipe`` as layer entries. No root needed.
"""

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from cluster.images.oci import Entry, directory

SUITE = "bookworm"

BASE = ("base-files", "busybox-static", "ca-certificates", "libc6", "libssl3", "netbase", "zlib1g")
PYTHON = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib",
    "libbz2-1.0", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", "libuuid1",
)  # fmt: skip
MOSQUITTO = (
    "mosquitto", "mosquitto-clients", "inotify-tools",
    "libcap2", "libcjson1", "libcom-err2", "libdlt2", "libgcrypt20", "libgpg-error0", "libgssapi-krb5-2",
    "libinotifytools0", "libk5crypto3", "libkeyutils1", "libkrb5-3", "libkrb5support0", "liblz4-1", "liblzma5",
    "libmosquitto1", "libnsl2", "libsystemd0", "libtirpc3", "libwrap0", "libzstd1",
)  # fmt: skip
DPDK = (
    "libbpf1", "libbsd0", "libcap2", "libdbus-1-3", "libelf1", "libfdt1", "libgcrypt20", "libgpg-error0",
    "libjansson4", "liblz4-1", "liblzma5", "libmd0", "libnuma1", "libpcap0.8", "libsystemd0", "libxdp1", "libzstd1",
    *(f"librte-{name}23" for name in (
        "bus-pci", "bus-vdev", "common-iavf", "cryptodev", "dmadev", "eal", "ethdev", "hash", "kvargs", "mbuf",
        "mempool", "mempool-ring", "meter", "net", "net-af-xdp", "net-e1000-", "net-ena", "net-i40e", "net-iavf",
        "net-ice", "net-ixgbe", "net-null", "net-pcap", "net-ring", "net-vhost", "net-virtio", "net-vmxnet3-", "pci",
        "rcu", "ring", "security", "telemetry", "timer", "vhost",
    )),
)  # fmt: skip

_STDLIB = "usr/lib/python3.11"
_DROPPED = (
    *(f"etc/{name}" for name in (
        "ca-certificates/*", "debian_version", "default/*", "dpkg/*", "host.conf", "init.d/*", "issue*",
        "ld.so.conf.d/*", "logrotate.d/*", "motd", "mosquitto/*", "python3*", "update-motd.d/*",
    )),
    *(f"{_STDLIB}/{name}" for name in (
        "test/*", "*/tests/*", "unittest/test/*", "pydoc_data/*", "turtle*", "config-*",
    )),
    *(f"{_STDLIB}/lib-dynload/{name}*" for name in (
        "_codecs_", "_crypt", "_curses", "_dbm", "_sqlite3", "_test", "_xxtest", "nis", "readline",
    )),
    "usr/lib/systemd/*", "usr/lib/sysctl.d/*", "usr/lib/tmpfiles.d/*", "usr/lib/valgrind/*", "usr/local/*",
    "usr/lib/*/audit/*", "usr/lib/*/engines-3/*", "usr/lib/*/gconv/*", "usr/lib/*/libmvec*",
    "usr/sbin/update-ca-certificates", "usr/share/*",
)  # fmt: skip
_COPYRIGHT = "usr/share/doc/*/copyright"

_APPLETS = (
    "[", "awk", "basename", "cat", "chmod", "cp", "cut", "date", "df", "dirname", "du", "echo", "env", "expr", "false",
    "find", "grep", "head", "hostname", "id", "kill", "less", "ln", "ls", "mkdir", "mv", "nc", "netstat", "nslookup",
    "printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "sh",
    "sha256sum", "sleep", "sort", "stat", "tail", "tar",
    "tee", "test", "timeout", "touch", "tr", "true", "tty", "uname", "uniq", "wc", "wget", "which", "whoami", "xargs",
)  # fmt: skip

_PASSWD = """\
root:x:0:0:root:/:/usr/sbin/nologin
mosquitto:x:1883:1883:mosquitto:/var/lib/mosquitto:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
tephra:x:65532:65532:tephra:/:/usr/sbin/nologin
"""
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def triplet() -> str:
    """The machine's multiarch triplet, as in Debian's library paths."""
    return f"{platform.machine()}-linux-gnu"


def fetch(names: Sequence[str], apt: Path, into: Path) -> list[Path]:
    """Downloads the newest version of each package into ``into``; ``apt`` holds apt's lists between builds.

    Raises ``RuntimeError`` with apt's own words when the host is not Debian bookworm or a package cannot be had.
    """
    _require_suite()
    (apt / "lists/partial").mkdir(parents=True, exist_ok=True)
    into.mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt,
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
    }
    apt_get = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]
    _run([*apt_get, "update"], into)
    _run([*apt_get, "download", *names], into)
    return sorted(into.glob("*.deb"))


def unpack(packages: Iterable[Path], root: Path) -> None:
    """Unpacks packages into ``root`` with ``/bin``, ``/sbin``, ``/lib`` and ``/lib64`` merged into ``/usr``."""
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"usr/{name}")
    for package in packages:
        content = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE)
        _run(["tar", "-x", "--keep-directory-symlink", "--no-same-owner", "-C", str(root)], root, content.stdout)
        if content.wait():
            raise RuntimeError(f"{package}: dpkg-deb cannot read it; delete it and build again")


def tree(root: Path) -> list[Entry]:
    """Everything under ``root`` that a running image needs, as entries owned by root."""
    found = []
    for folder, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            path = Path(folder, name)
            relative = str(path.relative_to(root))
            if not _is_dropped(relative) and (path.is_symlink() or not path.is_dir()):
                found.append(_entry(path, f"/{relative}"))
    return found


def base_files(root: Path) -> list[Entry]:
    """What the packages' own scripts would have made: users, applet links, the bundle of certificates."""
    authorities = sorted((root / "usr/share/ca-certificates").rglob("*.crt"))
    groups = "".join(f"{line.split(':')[0]}:x:{line.split(':')[3]}:\n" for line in _PASSWD.splitlines())
    return [
        Entry("/etc/passwd", source=_PASSWD.encode()),
        Entry("/etc/group", source=groups.encode()),
        Entry("/etc/nsswitch.conf", source=b"passwd: files\ngroup: files\nhosts: files dns\n"),
        Entry(_BUNDLE, source=b"".join(path.read_bytes() for path in authorities)),
        Entry("/usr/lib/ssl/cert.pem", symlink=_BUNDLE),
        *(Entry(f"/usr/bin/{applet}", symlink="busybox") for applet in _APPLETS),
        *(directory(path) for path in ("/dev", "/etc", "/proc", "/run", "/sys", "/var/lib", "/var/log")),
        directory("/tmp", 0o1777),
        directory("/var/tmp", 0o1777),
    ]


def _is_dropped(path: str) -> bool:
    return not fnmatch(path, _COPYRIGHT) and any(fnmatch(path, pattern) for pattern in _DROPPED)


def _entry(path: Path, name: str) -> Entry:
    if path.is_symlink():
        return Entry(name, symlink=os.readlink(path))
    mode = 0o755 if path.stat().st_mode & 0o111 or PurePosixPath(name).name.startswith("ld-linux") else 0o644
    return Entry(name, mode=mode, source=path)


def _require_suite() -> None:
    release = platform.freedesktop_os_release()
    if release.get("VERSION_CODENAME") != SUITE:
        raise RuntimeError(
            f"images are made of Debian {SUITE} packages, but this host is {release.get('PRETTY_NAME')}; "
            f"build on Debian {SUITE} (a container of it will do) and load or push the archives from there"
        )


def _run(command: Sequence[str], folder: Path, stdin: object = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,  # type: ignore[call-overload]
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[:1]))} failed: {done.stderr.strip()[-2000:]}")
