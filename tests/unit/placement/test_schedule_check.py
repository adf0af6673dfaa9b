"""The checker of schedules sees every kind of fault: a sound schedule is spoilt in one place at a time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tephra.placement.schedule.check import violations
from tephra.placement.schedule.model import Edge, Task, Workflow
from tephra.placement.schedule.result import Fetch, Run, Schedule
from tests.support.workflows import platform

SECOND, MEGABIT = 1_000_000, 125_000
WORKFLOW = Workflow(
    (Task("x", "x", 1_000, 600, 1_000 * MEGABIT), Task("y", "y", 1_000, 600)), (Edge("x", "y", 500 * MEGABIT),)
)
PLATFORM = platform([1_000, 1_000], images={"x": 250 * MEGABIT, "y": 250 * MEGABIT}, per_vm=2, cap=1_000)
SOUND = Schedule(
    runs=(Run("x", "cpu1a", SECOND, 2 * SECOND), Run("y", "cpu2a", 2_500_000, 3_500_000)),
    fetches=(Fetch("x", "vm1", 0, 250_000), Fetch("y", "vm2", 250_000, 500_000)),
    lower_bound_us=3 * SECOND,
    solver="hand",
)
HERE = replace(SOUND, runs=(SOUND.runs[0], Run("y", "cpu1b", 2 * SECOND, 3 * SECOND)))


def moved(run: int, **changes: Any) -> Callable[[Schedule], Schedule]:
    """One run with other fields."""
    return lambda schedule: replace(
        schedule, runs=tuple(replace(r, **changes) if n == run else r for n, r in enumerate(schedule.runs))
    )


def test_a_sound_schedule_passes() -> None:
    assert violations(WORKFLOW, PLATFORM, SOUND) == []


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda s: replace(s, runs=s.runs[:1]), "not those of the workflow"),
        (lambda s: replace(s, runs=(*s.runs, s.runs[0])), "not those of the workflow"),
        (moved(0, vcpu="cpu9z"), "vCPUs that are not there"),
        (moved(1, end_us=3_400_000), "but it takes 1000000.0"),
        (moved(1, start_us=2_499_999, end_us=3_499_999), "before the data of x arrive at 2500000.0"),
        (moved(0, start_us=999_999, end_us=1_999_999), "before its input arrives at 1000000.0"),
        (moved(1, vcpu="cpu1a", start_us=1_500_000, end_us=2_500_000), "overlap on cpu1a"),
        (moved(1, vcpu="cpu1b", start_us=1_500_000, end_us=2_500_000), "above the cap 1000"),
        (lambda s: HERE, "before its image y is there"),
        (lambda s: replace(s, fetches=s.fetches[:1]), "before its image y is there"),
        (lambda s: replace(s, fetches=(s.fetches[0], Fetch("y", "vm2", 249_999, 499_999))), "at once"),
        (lambda s: replace(s, fetches=(s.fetches[0], Fetch("y", "vm2", 250_000, 400_000))), "takes 250000.0"),
        (lambda s: replace(s, lower_bound_us=3_500_001), "above the makespan"),
    ],
)
def test_a_spoilt_schedule_is_called_what_it_is(spoil: Callable[[Schedule], Schedule], complaint: str) -> None:
    assert complaint in " ".join(violations(WORKFLOW, PLATFORM, spoil(SOUND)))
