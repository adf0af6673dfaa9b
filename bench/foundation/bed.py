"""The system that rows 1 to 3 measure: one cluster of their own, made at the first call, gone at the end.

``TEPHRA_BENCH_KUBECONFIG`` names a cluster that has the images instead; the chart is then installed there and stays.
"""

import atexit
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.report import progress
from tests.support.system import ROOT, System

CLUSTER = f"bench-{os.getpid()}"


def call(*arguments: str, check: bool = True) -> str:
    """Output of `python -m …` in the project."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, check=check, stdout=subprocess.PIPE, text=True).stdout.strip()


@functools.cache
def system() -> System:
    """The installed system on a cluster of one real node."""
    assets = call("cluster", "assets")
    found = os.environ.get("TEPHRA_BENCH_KUBECONFIG")
    if not found:
        progress(f"cluster {CLUSTER}, images, chart")
        atexit.register(call, "cluster", "down", "--name", CLUSTER, check=False)
        call("cluster", "up", "--name", CLUSTER, "--nodes", "1")
        call("cluster", "load", "--name", CLUSTER, *sorted(map(str, (ROOT / "build/images").glob("*.tar"))))
        found = str(Path(tempfile.mkdtemp(prefix="tephra-bench-")) / "kubeconfig")
        Path(found).write_text(call("cluster", "kubeconfig", "--name", CLUSTER))
    made = System(found, assets)
    made.install()
    return made
