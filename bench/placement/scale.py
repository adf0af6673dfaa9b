"""Row 4: how the time of a placement grows with nodes, sites and functions, and 10,000 chains in sequence.

Chains of 6, 20 and 60 functions arrive and leave so that about 80 % of all CPU and memory is asked for at any time;
placed by segment A* under bid prices. Times are of the processor. One placement in a hundred goes through the checker.
"""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bench.placement import subscriptions
from bench.report import emit, percentile, progress
from tephra.placement import Placement, Policy, Request, Residual, check
from tephra.placement.chains import chain
from tephra.placement.simulate import Kind, replay

POLICY = Policy(acceptance=10_000)
MIXED = (6, 20, 60)
PER_SITE = 8  # chains in force per data centre
CHECKED = 100  # every so many placements
LONG = (("GtsCe", 30), ("waxman-750", 100))


class Run(NamedTuple):
    """Processor times in ms, and the share accepted."""

    milliseconds: list[float]
    accepted: float


def run(quick: bool) -> None:
    """Print the long sequences, then what happens as one size grows and the others stay."""
    count = 300 if quick else 10_000
    for backbone, data_centres in LONG:
        _report(
            f"{count:,} chains on {backbone}, {data_centres} data centres", _run(backbone, data_centres, MIXED, count)
        )
    few = 100 if quick else 500
    _growth("nodes", [(size, _run(f"waxman-{size}", 30, (20,), few)) for size in (100, 200, 400, 750)])
    _growth("data centres", [(size, _run("waxman-750", size, (20,), few)) for size in (12, 25, 50, 100)])
    _growth("functions", [(size, _run("GtsCe", 30, (size,), few)) for size in (6, 12, 25, 50, 100)])


def _run(backbone: str, data_centres: int, lengths: Sequence[int], count: int) -> Run:
    progress(f"{count:,} chains of {lengths} functions on {backbone}, {data_centres} data centres")
    topology, arrivals = subscriptions.stream(backbone, data_centres, lengths, count, PER_SITE * data_centres)
    times, accepted, asked = list[float](), 0, 0

    def place(residual: Residual, request: Request) -> Placement | chain.Unplaced:
        before = time.process_time()
        answer = chain.place(residual, request, POLICY)
        times.append((time.process_time() - before) * 1000)
        if isinstance(answer, Placement) and len(times) % CHECKED == 0:
            check.require(residual, request, POLICY, answer)
        return answer

    for event in replay(Residual.of(topology), arrivals, place):
        asked += event.kind is not Kind.DEPARTED
        accepted += event.kind is Kind.ACCEPTED
    return Run(times, accepted / asked)


def _report(what: str, result: Run) -> None:
    for percent in (50, 99):
        emit("placement", 4, f"{what}: p{percent}", percentile(result.milliseconds, percent), "ms")
    emit("placement", 4, f"{what}: accepted", 100 * result.accepted, "%")


def _growth(of: str, results: list[tuple[int, Run]]) -> None:
    """The times by size, and the exponent of the power law through their medians."""
    medians = [percentile(result.milliseconds, 50) for _, result in results]
    for (size, result), median in zip(results, medians, strict=True):
        emit("placement", 4, f"{size} {of}: p50", median, "ms", p99_ms=percentile(result.milliseconds, 99))
    slope = np.polyfit([math.log(size) for size, _ in results], np.log(medians), 1)[0]
    emit("placement", 4, f"time grows as a power of {of}", float(slope), "exponent")
