"""What a scheduler returns: which task runs where and when, and which image travels when. Neighbours: `execute`."""

from dataclasses import dataclass

from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.timeline import Pull


@dataclass(frozen=True, slots=True)
class Run:
    """A task on a vCPU, in microseconds from the start of the workflow."""

    task: str
    vcpu: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """An image on its way from the repository to a VM."""

    image: str
    vm: str
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """The runs by start time, the fetches in their order, a lower bound on the makespan of any schedule, the solver."""

    runs: tuple[Run, ...]
    fetches: tuple[Fetch, ...]
    lower_bound_us: int
    solver: str

    @property
    def makespan_us(self) -> int:
        """The response time of the workflow."""
        return max(run.end_us for run in self.runs)

    @property
    def gap(self) -> float:
        """How far the makespan may be above the optimum, as a share of it."""
        return self.makespan_us / self.lower_bound_us - 1


def named(
    problem: Problem, vcpu: list[int], start: list[int], arrived: dict[Pull, int], *, bound: int, solver: str
) -> Schedule:
    """A schedule with the names of the model from arrays by task, and from when each image arrives."""
    runs = [
        Run(name, problem.vcpus[on], begin, begin + problem.duration[task][on])
        for task, (name, on, begin) in enumerate(zip(problem.tasks, vcpu, start, strict=True))
    ]
    fetches = [
        Fetch(problem.images[image], problem.vms[vm], end - problem.pull[image][vm], end)
        for (image, vm), end in sorted(arrived.items(), key=lambda item: item[1])
    ]
    return Schedule(tuple(sorted(runs, key=lambda run: (run.start_us, run.task))), tuple(fetches), bound, solver)
