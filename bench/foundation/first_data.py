"""Row 1: `make run` to first data, from a fresh clone with empty caches and again with everything in place.

Quick leaves the cold run out. The memory is what every process of the cluster holds (PSS, so shared pages count once).
"""

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from bench.report import at_most, emit, progress
from tests.support.system import ROOT

COLD_S, WARM_S = 15 * 60, 60
NAME = f"first-{os.getpid()}"


def run(quick: bool) -> None:
    """Cold in a fresh clone (unless quick), then warm with the cluster up."""
    with tempfile.TemporaryDirectory(prefix="tephra-first-") as folder:
        checkout = ROOT
        if not quick:
            checkout = Path(folder) / "clone"
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
        environment = os.environ | ({} if quick else {"TEPHRA_CACHE": f"{folder}/cache"})
        try:
            first = _make_run(checkout, environment)
            if not quick:
                _print(first, "cold", COLD_S)
            _print(_make_run(checkout, environment), "cluster up, everything cached", WARM_S)
            emit("foundation", 1, "memory of the whole (PSS)", _memory_mib(), "MiB")
        finally:
            command = ["python3", "-m", "cluster", "down", "--name", NAME]
            subprocess.run(command, cwd=checkout, env=environment, check=False, stdout=subprocess.DEVNULL)
            subprocess.run(["chmod", "-R", "u+w", folder], check=False)  # Go's module cache is read-only


def _make_run(checkout: Path, environment: dict[str, str]) -> dict[str, float]:
    """Seconds of each step as `make run` prints them, and of the whole up to the last entity shown."""
    progress(f"make run in {checkout}")
    started = time.monotonic()
    command = ["make", "run", f"NAME={NAME}"]
    done = subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    steps = {match[1]: float(match[2]) for match in re.finditer(r"^    (.+): ([0-9.]+) s$", done.stdout, re.M)}
    return steps | {"make run to live data": time.monotonic() - started}


def _print(steps: dict[str, float], state: str, bar: float) -> None:
    *parts, whole = steps.items()
    for title, seconds in parts:
        emit("foundation", 1, f"{state}: {title}", seconds, "s")
    emit("foundation", 1, f"{state}: {whole[0]}", whole[1], "s", **at_most(whole[1], bar, "s"))


def _memory_mib() -> float:
    """PSS of every process in a cgroup or with an argument of this cluster."""
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes() + (process / "cgroup").read_bytes()
            if NAME.encode() in words:
                rollup = (process / "smaps_rollup").read_text()
                total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M)[1])  # type: ignore[index]
        except (OSError, TypeError):
            continue
    return total / 1024
