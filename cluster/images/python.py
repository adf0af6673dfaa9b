"""Layers of Python code: locked wheels and our own packages, compiled ahead so that a pod starts quickly.

Byte code is made by the image's own interpreter (run through its own loader, so no root and no chroot) as
unchecked-hash ``.pyc``: the same sources give the same bytes, and start-up compares no time stamps.
Wheels are chosen for the image's platform, not the host's, and must match the hashes of the lock.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from cluster.images.debian import triplet
from cluster.images.oci import Entry

VERSION = "3.11"
GLIBC_MINOR = 36  # Debian bookworm: glibc 2.36
LIBRARY = "/opt/tephra/lib"  # our code
DEPENDENCIES = "/opt/tephra/deps"  # everybody else's

ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/usr/sbin",
    "PYTHONPATH": f"{LIBRARY}:{DEPENDENCIES}",
    "PYTHONSAFEPATH": "1",
    "PYTHONNOUSERSITE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}

_UNNEEDED = ("*.pyi", "*.pyx", "*.pxd", "*.[ch]", "*.typed", "RECORD", "INSTALLER", "REQUESTED")
"""Sources of extensions, types, and pip's book-keeping, which holds hashes of the host's console scripts."""


def wheels(lock: Path, into: Path, machine: str) -> None:
    """Unpacks the wheels that ``lock`` names (``name==version --hash=…`` lines) under ``into``.

    Raises ``RuntimeError`` with pip's words when a wheel is missing for the platform or a hash differs.
    """
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC_MINOR, 4, -1)]
    platforms += [f"manylinux2014_{machine}", "any"]
    command = [
        *_pip(), "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore",
        "--target", str(into), "--require-hashes", "--no-deps", "--no-compile", "--only-binary=:all:",
        "--implementation", "cp", "--python-version", VERSION,
        *(f"--platform={name}" for name in platforms), "--requirement", str(lock),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{lock}: {done.stderr.strip()[-2000:]}")
    shutil.rmtree(into / "bin", ignore_errors=True)  # console scripts of the host's interpreter
    for path in sorted(into.rglob("*"), reverse=True):
        if path.is_file() and (any(map(path.match, _UNNEEDED)) or "tests" in path.parts[len(into.parts) :]):
            path.unlink()


def copy_package(source: Path, into: Path, only: Sequence[str] = ()) -> None:
    """Copies a package's Python and data files, or only those of its parts named in ``only``."""
    for path in package_files(source, only):
        target = into / source.name / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def package_files(source: Path, only: Sequence[str] = ()) -> list[Path]:
    """The files under ``source`` that belong in an image; ``only`` names children of ``source``."""
    roots: Iterable[Path] = [source / name for name in only] if only else [source]
    found: set[Path] = set()
    for root in roots:
        found |= {root} if root.is_file() else set(root.rglob("*"))
    return sorted(path for path in found if path.is_file() and not _is_cache(path.relative_to(source)))


def _is_cache(path: Path) -> bool:
    """Whether a tool left it there: byte code, or anything in a hidden folder."""
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def compile_tree(root: Path, folder: str, rootfs: Path) -> None:
    """Compiles ``folder`` (absolute in the image, under ``root`` here) with the interpreter in ``rootfs``."""
    libraries = rootfs / "usr/lib" / triplet()
    (loader,) = libraries.glob("ld-linux-*")
    command = [
        str(loader), "--library-path", str(libraries), str(rootfs / f"usr/bin/python{VERSION}"), "-S", "-s",
        "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash",
        "-s", str(root), "-p", "/", str(root / folder.lstrip("/")),
    ]  # fmt: skip
    environment = {"PYTHONHOME": str(rootfs / "usr"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"byte-compiling failed: {(done.stdout + done.stderr).strip()[-2000:]}")


def tree(root: Path, folder: str) -> list[Entry]:
    """The files of one folder (absolute in the image, under ``root`` here) as entries owned by root."""
    start = root / folder.lstrip("/")
    return [
        Entry(f"/{path.relative_to(root)}", mode=0o755 if os.access(path, os.X_OK) else 0o644, source=path)
        for path in sorted(start.rglob("*"))
        if path.is_file()
    ]


def _pip() -> list[str]:
    """pip of this interpreter, or the one on PATH."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    raise RuntimeError("pip is missing; install it (apt-get install python3-pip) or run make from the venv")
