"""Row 1: one subscription of 60 functions on Interoute with 20 data centres, empty and 75 to 100 % full, on one core.

Segment A* against the papers' integer program by CP-SAT (:mod:`tephra.placement.ilp`, one worker), on the same
instances in the same run. CP-SAT stops after its budget, so that where it did not prove its answer the ratio is a lower
bound. Times are of the processor, of one core each, so that a busy machine slows neither side. Every placement goes
through the independent checker.
"""

import statistics
import time
from collections.abc import Iterator
from typing import NamedTuple

from bench.placement import subscriptions
from bench.report import emit, percentile, progress
from tephra.placement import Placement, Policy, Request, Residual, check, ilp
from tephra.placement.chains import chain

FASTER, AIM_MS = 200, 5.0
REPEATS = 20
TOLERANCE = 1e-6  # relative, of CP-SAT's integers
POLICY = Policy()


class Case(NamedTuple):
    """An instance, our placement of it, and the processor times in ms: of the whole search, and of its first half,
    which visits no site twice and has the answer in most cases."""

    residual: Residual
    request: Request
    placement: Placement
    whole: list[float]
    first: list[float]


def run(quick: bool) -> None:
    """Print times, ratios and objectives, for the empty and the loaded network."""
    for loaded in (False, True):
        cases = list(_cases(loaded, quick))
        _times(loaded, cases)
        count, budget_s = (1, 20.0) if quick else (6, 60.0)
        _against_ilp(loaded, cases[:count], budget_s)


def _name(loaded: bool) -> str:
    return "90 % loaded" if loaded else "empty"


def _cases(loaded: bool, quick: bool) -> Iterator[Case]:
    """The instances that have a placement, with ours."""
    for seed in list(subscriptions.SPEED_SEEDS)[: 10 if quick else None]:
        residual, request = subscriptions.subscription(seed, loaded)
        answer = chain.place(residual, request, POLICY)
        if isinstance(answer, Placement):
            check.require(residual, request, POLICY, answer)
            whole, first = ([_timed(residual, request, steps) for _ in range(REPEATS)] for steps in (chain.STEPS, 0))
            yield Case(residual, request, answer, whole, first)
        else:
            progress(f"{request.name}, {_name(loaded)}: no placement")


def _timed(residual: Residual, request: Request, steps: int) -> float:
    """Processor time of a placement in ms."""
    before = time.process_time()
    chain.place(residual, request, POLICY, steps)
    return (time.process_time() - before) * 1000


def _times(loaded: bool, cases: list[Case]) -> None:
    for part, times in (("", [case.whole for case in cases]), (", first half", [case.first for case in cases])):
        what, all_times = f"60 functions, {_name(loaded)}{part}: time", [spent for case in times for spent in case]
        emit("placement", 1, f"{what}, p50", percentile(all_times, 50), "ms", instances=len(cases))
        p99 = percentile(all_times, 99)
        emit("placement", 1, f"{what}, p99", p99, "ms", aim=f"< {AIM_MS:g} ms", within_aim=p99 < AIM_MS)
    proved = sum(case.placement.gap == 0 for case in cases)
    emit("placement", 1, f"60 functions, {_name(loaded)}: proved by the bound", proved, "instances", of=len(cases))


def _against_ilp(loaded: bool, cases: list[Case], budget_s: float) -> None:
    ratios, worse, theirs = list[float](), 0, list[float]()
    for case in cases:
        progress(f"CP-SAT on {case.request.name}, {_name(loaded)}, at most {2 * budget_s:g} s")
        before = time.process_time()
        answer = ilp.solve(case.residual, case.request, POLICY, budget_s=budget_s)
        theirs.append((time.process_time() - before) * 1000)
        ratios.append(theirs[-1] / statistics.median(case.whole))
        value = answer.objective if isinstance(answer, Placement) else float("inf")
        worse += case.placement.objective > value * (1 + TOLERANCE)
        progress(f"objective {case.placement.objective:.0f} against {value:.0f}, {ratios[-1]:.0f} times faster")
    what = f"60 functions, {_name(loaded)}: segment A* against the edge-flow model by CP-SAT"
    emit(
        "placement",
        1,
        f"{what}, least ratio of times",
        min(ratios),
        "x",
        peer=statistics.median(theirs),
        ratio=statistics.median(ratios),
        bar=f">= {FASTER}",
        holds=min(ratios) >= FASTER,
    )
    emit("placement", 1, f"{what}, worse objectives", worse, "of", of=len(cases), bar="0", holds=worse == 0)
