"""Row 7: bundles of two rules swapped under two workers at full speed; no packet may see one rule of each.

Runs the pipeline's own test (switch/tests/pipeline/test_txn.c) with a million swaps: every packet crosses two tables,
takes a mark from the first and is checked against the second.
"""

import os
import re
import subprocess

from bench.report import at_most, emit, progress
from bench.switch.switches import BUILD

SWAPS = 1_000_000
TEST = "tests/pipeline/test_pipeline_txn"
LINE = re.compile(r"swaps (\d+) packets (\d+) mixtures (\d+)")


def run(quick: bool) -> None:
    """One run; RuntimeError with the test's words when it says nothing."""
    swaps = SWAPS // 20 if quick else SWAPS
    progress(f"{swaps} swaps")
    env = os.environ | {"QUAKE_SWAPS": str(swaps)}
    done = subprocess.run([str(BUILD / TEST)], env=env, capture_output=True, text=True, check=False)
    workers = LINE.findall(done.stdout + done.stderr)
    if not workers:
        raise RuntimeError(f"{TEST}: {done.stderr.strip()[-2000:]}")
    packets = sum(int(packets) for _, packets, _ in workers)
    mixtures = sum(int(mixtures) for _, _, mixtures in workers)
    emit(
        "switch",
        7,
        f"packets that saw a mixture, {swaps} swaps",
        mixtures,
        "packets",
        packets=packets,
        **at_most(mixtures, 0),
    )
