"""The layers of quake, the OpenFlow switch: DPDK's libraries and drivers from Debian, and our program compiled here.

Compiling needs meson, ninja, a C compiler and the headers of DPDK, OpenSSL and jansson on the host. Paths in the
program are relative and symbols stripped, so the same sources and packages give the same bytes wherever they are built.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cluster.images.oci import Blob, Entry, ImageConfig, directory

PROGRAMS = {"src/process/quake": "/usr/bin/quake", "tools/quakectl": "/usr/bin/quakectl"}
PACKAGES = "meson ninja-build gcc libdpdk-dev libssl-dev libjansson-dev"
OWNER = 65532

CONFIG = ImageConfig(
    entrypoint=["/usr/bin/quake"],
    command=["--config", "/etc/quake/quake.json"],
    env={"PATH": "/usr/bin:/usr/sbin", "RUNTIME_DIRECTORY": "/run/quake"},  # DPDK's, whoever it runs as
)


def sources(switch: Path) -> list[Path]:
    """The files that the programs depend on, in order."""
    kept = [switch / "meson.build", *(switch / "src").rglob("*"), *(switch / "tools").rglob("*")]
    return sorted(path for path in kept if path.is_file())


def compile_programs(switch: Path, scratch: Path, _: Sequence[Blob]) -> list[Entry]:
    """Entries of the switch's programs, compiled in `scratch`; RuntimeError with the compiler's words."""
    shutil.copytree(switch, scratch / "switch")
    build = scratch / "build"
    _run(["meson", "setup", "--buildtype=release", str(build), str(scratch / "switch")])
    _run(["ninja", "-C", str(build), *PROGRAMS])
    entries = [directory("/etc/quake"), directory("/run/quake", 0o700, owner=OWNER)]
    for built, installed in PROGRAMS.items():
        _run(["strip", "--strip-all", str(build / built)])
        entries.append(Entry(installed, mode=0o755, source=build / built))
    return entries


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RuntimeError(f"{command[0]} is missing; the switch's image needs: apt-get install {PACKAGES}") from error
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command[:2])} failed; the switch's image needs: apt-get install {PACKAGES}\n"
            f"{(done.stdout + done.stderr).strip()[-2000:]}"
        )
