"""Row 1: `make run` to first data: from a fresh clone with empty caches, with full caches, and with the cluster up.

Quick leaves the first out. The memory is what every process of the cluster holds (PSS, so shared pages count once).
"""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.report import at_most, emit, progress
from tests.support.system import ROOT

COLD_S, WARM_S = 15 * 60, 60
NAME = f"first-{os.getpid()}"
BEGIN, END = "==> ", re.compile(r"^    (.+): ([0-9.]+) s$")
"""What `make run` prints before and after a step."""
LIVE = BEGIN + "live data"
SETUP, WHOLE = "Debian packages and Python environment", "make run to first data"

Steps = dict[str, float]
"""Seconds of each step by its title."""


def run(quick: bool) -> None:
    """Cold in a fresh clone (unless quick), without a cluster, then with everything in place."""
    with tempfile.TemporaryDirectory(prefix="tephra-first-") as folder:
        checkout, environment = ROOT, dict(os.environ)
        if not quick:
            checkout = Path(folder) / "clone"
            environment |= {"TEPHRA_CACHE": f"{folder}/cache", "PIP_NO_CACHE_DIR": "1"}
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True)
        try:
            if not quick:
                _print(_make_run(checkout, environment), "cold", COLD_S)
                _down(checkout, environment)
            _print(_make_run(checkout, environment), "everything cached, no cluster")
            _print(_make_run(checkout, environment), "everything cached, cluster up", WARM_S)
            emit("foundation", 1, "memory of the whole (PSS)", _memory_mib(), "MiB")
        finally:
            _down(checkout, environment)
            (checkout / f"build/{NAME}.kubeconfig").unlink(missing_ok=True)
            subprocess.run(["chmod", "-R", "u+w", folder], check=False)  # Go's module cache is read-only


def _down(checkout: Path, environment: Mapping[str, str]) -> None:
    command = ["python3", "-m", "cluster", "down", "--name", NAME]
    subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)


def _make_run(checkout: Path, environment: Mapping[str, str]) -> Steps:
    """Run it to its end; RuntimeError when it fails."""
    progress(f"make run in {checkout}")
    started = time.monotonic()
    command = ["make", "run", f"NAME={NAME}"]
    with subprocess.Popen(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True) as make:
        assert make.stdout
        try:
            lines = [(time.monotonic() - started, line.rstrip()) for line in make.stdout]
        except BaseException:
            make.terminate()
            raise
    if make.returncode:
        raise RuntimeError(f"`{' '.join(command)}` ended with code {make.returncode}; its last lines: {lines[-5:]}")
    return _steps(lines)


def _steps(lines: Sequence[tuple[float, str]]) -> Steps:
    """From the lines that `make run` printed, each with the second at which it came."""
    setup = next(at for at, line in lines if line.startswith(BEGIN))
    ended = (END.match(line) for _, line in lines)
    live = next(number for number, (_, line) in enumerate(lines) if line.startswith(LIVE))
    return {SETUP: setup} | {end[1]: float(end[2]) for end in ended if end} | {WHOLE: lines[live + 1][0]}


def _print(steps: Steps, state: str, bar: float | None = None) -> None:
    for title, seconds in steps.items():
        judged = at_most(seconds, bar, "s") if bar and title == WHOLE else {}
        emit("foundation", 1, f"{state}: {title}", seconds, "s", **judged)


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
