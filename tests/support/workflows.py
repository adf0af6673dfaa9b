"""Workflows and platforms for the tests of function scheduling, and a verdict on what comes out."""

from collections.abc import Mapping, Sequence

from tephra.placement.schedule.check import violations
from tephra.placement.schedule.model import Edge, Platform, Task, Vcpu, Vm, Workflow
from tephra.placement.schedule.problem import Problem, compile_problem
from tephra.placement.schedule.result import Schedule

MBPS = 1_000


def tabled(
    durations: Mapping[str, Sequence[int]], transfers: Mapping[tuple[str, str], int]
) -> tuple[Workflow, Platform]:
    """Unrelated processors as in the papers: the time of each task on each, and of each edge between any two (us)."""
    count = len(next(iter(durations.values())))
    tasks = [
        Task(name, "f", 1, measured_us={f"P{number}": time for number, time in enumerate(times, 1)})
        for name, times in durations.items()
    ]
    edges = [Edge(*pair, time * MBPS // 8) for pair, time in transfers.items()]
    return Workflow(tuple(tasks), tuple(edges)), platform([1] * count, present="f", prefix="P")


def platform(
    speeds: Sequence[int],
    *,
    present: str = "",
    images: Mapping[str, int] | None = None,
    prefix: str = "",
    per_vm: int = 1,
    cap: int | None = None,
) -> Platform:
    """VMs of one core in one network at 1 Gbit/s, with `per_vm` vCPUs of the given speed (MIPS) each."""
    vms = tuple(Vm(f"vm{number}", "lan", frozenset(present)) for number in range(1, len(speeds) + 1))
    vcpus = tuple(
        Vcpu(f"{prefix or 'cpu'}{number}{chr(97 + at) if per_vm > 1 else ''}", f"vm{number}", f"core{number}", mips)
        for number, mips in enumerate(speeds, 1)
        for at in range(per_vm)
    )
    return Platform(vms, vcpus, {("lan", "lan"): MBPS}, "lan", "lan", images or {}, cap)


def problem_of(given: tuple[Workflow, Platform]) -> Problem:
    return compile_problem(*given)


def valid(given: tuple[Workflow, Platform], schedule: Schedule) -> Schedule:
    """The schedule, once the independent checker has nothing to say against it."""
    assert violations(*given, schedule) == []
    return schedule


def runs(schedule: Schedule) -> dict[str, tuple[str, int, int]]:
    """By task: vCPU, start, end."""
    return {run.task: (run.vcpu, run.start_us, run.end_us) for run in schedule.runs}
