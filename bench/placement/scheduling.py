"""Row 5: function scheduling, cold (no image anywhere) and warm (every image everywhere), with and without a core cap.

Instances of :mod:`bench.placement.workflow_instances`. SF-CUV, CUV-FIX, HEFT, PEFT, CAP and COM plan without regard to
images, as published; their plans are then executed with images fetched when the first function needs them, first come
first served. Ours fetches ahead. One row shows what fetching ahead alone gives SF-CUV's own plan. Every schedule passes
the independent checker. When warm, ours is held to the number of vCPUs that SF-CUV used on the same instance; beside it
stands ours with all of them, and that is what CP-SAT, with all of them too, is compared with.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.placement.scheduling_figures import Averages, draw
from bench.placement.workflow_instances import PARTITIONS, SEEDS, platform, workflow
from bench.report import at_most, emit, noise, progress
from tephra.placement.schedule.aware import aware, prefetched
from tephra.placement.schedule.check import violations
from tephra.placement.schedule.exact import exact
from tephra.placement.schedule.execute import execute
from tephra.placement.schedule.metrics import Figures, figures
from tephra.placement.schedule.problem import Problem, compile_problem
from tephra.placement.schedule.result import Schedule
from tephra.placement.schedule.solve import PLANNERS

BENCH, ROW = "placement", 5
PEER, AHEAD = "sf-cuv", "sf-cuv fetching ahead"
OURS, FREE, OPTIMUM = "aware", "aware, all vCPUs", "exact, all vCPUs"
SMALL, LARGE = 5, 8
EXACT_S, EXACT_GAP = 60.0, 0.005


@dataclass(frozen=True, slots=True)
class Setting:
    """A point of the figures: state of the images, cap, and |B|."""

    warm: bool
    capped: bool
    partitions: int

    def __str__(self) -> str:
        return f"{'warm' if self.warm else 'cold'}, cap {'on' if self.capped else 'off'}, |B| = {self.partitions}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One instance: the figures by scheduler, and the bound that CP-SAT proved where it was asked (microseconds)."""

    figures: dict[str, Figures]
    bound_us: int

    def ratio(self, scheduler: str) -> float:
        """Response time over SF-CUV's."""
        return self.figures[scheduler].makespan_us / self.figures[PEER].makespan_us

    def excess(self) -> float:
        """Response time of ours with all vCPUs over CP-SAT's proved bound, so over any optimum, less 1."""
        return self.figures[FREE].makespan_us / self.bound_us - 1

    @property
    def proved(self) -> bool:
        """Whether CP-SAT's schedule is proved to be within its gap of the optimum."""
        return self.figures[OPTIMUM].makespan_us <= self.bound_us * (1 + EXACT_GAP)


def run(quick: bool) -> None:
    partitions, seeds = ((2, 5, 8, 20), SEEDS[:3]) if quick else (PARTITIONS, SEEDS)
    settings = [Setting(w, c, b) for c in (False, True) for w in (False, True) for b in partitions]
    results: dict[Setting, list[Outcome]] = {}
    averages: dict[Setting, Averages] = {}
    for setting in settings:
        progress(str(setting))
        results[setting] = [outcome(setting, seed) for seed in seeds]
        averages[setting] = _averages(results[setting])
        _report(setting, results[setting], averages[setting])
    _summary(results)
    draw({(s.warm, s.capped, s.partitions): found for s, found in averages.items()})


def outcome(setting: Setting, seed: int) -> Outcome:
    """Every scheduler on one instance."""
    flow = workflow(setting.partitions, seed)
    place = platform(seed, warm=setting.warm, capped=setting.capped)
    problem = compile_problem(flow, place)
    schedules = schedules_of(problem)
    schedules[FREE] = aware(problem)
    used = figures(problem, schedules[PEER]).vcpus
    schedules[OURS] = aware(problem, limit=used) if setting.warm else schedules[FREE]
    if setting.partitions <= SMALL:
        schedules[OPTIMUM] = exact(problem, seconds=EXACT_S, gap=EXACT_GAP)
    for name, schedule in schedules.items():
        if wrong := violations(flow, place, schedule):
            raise AssertionError(f"{name} on {setting}, seed {seed}: {wrong[0]}")
    bound = schedules[OPTIMUM].lower_bound_us if OPTIMUM in schedules else 0
    return Outcome({name: figures(problem, schedule) for name, schedule in schedules.items()}, bound)


def schedules_of(problem: Problem) -> dict[str, Schedule]:
    """The published schedulers, and SF-CUV's plan with its images fetched ahead."""
    plans = {name: planner(problem) for name, planner in PLANNERS.items()}
    executed = {name: execute(problem, plan, name) for name, plan in plans.items()}
    return executed | {AHEAD: prefetched(problem, plans[PEER], AHEAD)}


def _averages(outcomes: Sequence[Outcome]) -> Averages:
    """By figure and scheduler, means over the seeds; `normalised` is by SF-CUV's value on the same instance."""
    return {
        "seconds": _means(outcomes, lambda its, _: its.makespan_us / 1e6),
        "normalised_time": _means(outcomes, lambda its, peer: its.makespan_us / peer.makespan_us),
        "normalised_efficiency": _means(outcomes, lambda its, peer: its.efficiency / peer.efficiency),
        "sharing": _means(outcomes, lambda its, _: its.sharing),
        "vm_sharing": _means(outcomes, lambda its, _: its.vm_sharing),
        "vcpus": _means(outcomes, lambda its, _: its.vcpus),
    }


def _means(outcomes: Iterable[Outcome], read: Callable[[Figures, Figures], float]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for one in outcomes:
        for name, its in one.figures.items():
            values.setdefault(name, []).append(read(its, one.figures[PEER]))
    return {name: round(statistics.fmean(of), 4) for name, of in values.items()}


def _report(setting: Setting, outcomes: Sequence[Outcome], averages: Averages) -> None:
    """One line a setting: response time of ours and SF-CUV's, and every figure of all schedulers."""
    ratios = [one.ratio(OURS) for one in outcomes]
    mean, worst, times = statistics.fmean(ratios), max(ratios), averages["seconds"]
    bar = at_most(worst, 1.0, "of the peer's, every seed") if setting.warm else {}
    if not setting.warm and setting.partitions >= LARGE:
        bar = at_most(mean, 0.5, "of the peer's")
    beside = {"peer": PEER, "peer_value": times[PEER], "ratio": mean, "worst_ratio": worst, "noise": noise(ratios)}
    emit(BENCH, ROW, f"{setting}: response time", times[OURS], "s", **beside, **bar, **averages)


def _summary(results: dict[Setting, list[Outcome]]) -> None:
    """The bars, each over all settings it speaks of; the worst instance decides."""
    for capped in (False, True):
        where = f"worst instance, cap {'on' if capped else 'off'}"
        large = _select(results, lambda s: s.capped == capped and not s.warm and s.partitions >= LARGE)  # noqa: B023
        _bar(f"cold, |B| >= {LARGE}, {where}: over SF-CUV", max(one.ratio(OURS) for one in large), "", 0.5)
        warm = _select(results, lambda s: s.capped == capped and s.warm)  # noqa: B023
        _bar(f"warm, {where}: over SF-CUV", max(one.ratio(OURS) for one in warm), "", 1.0)
        more = max(one.figures[OURS].vcpus - one.figures[PEER].vcpus for one in warm)
        _bar(f"warm, {where}: vCPUs beyond SF-CUV's", more, "", 0)
        for is_warm in (False, True):
            small = _select(results, lambda s: (s.capped, s.warm) == (capped, is_warm) and s.partitions <= SMALL)  # noqa: B023
            excess = [100 * one.excess() for one in small]
            proved = f"{sum(one.proved for one in small)} of {len(small)}"
            what = f"{'warm' if is_warm else 'cold'}, |B| <= {SMALL}, {where}: above CP-SAT's bound"
            _bar(what, max(excess), "%", 5, mean=statistics.fmean(excess), proved_within_gap=proved)


def _select(results: dict[Setting, list[Outcome]], keep: Callable[[Setting], bool]) -> list[Outcome]:
    return [one for setting, found in results.items() if keep(setting) for one in found]


def _bar(what: str, value: float, unit: str, limit: float, **more: Any) -> None:
    emit(BENCH, ROW, what, value, unit, **at_most(value, limit, unit), **more)
