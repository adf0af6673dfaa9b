"""Ranks of tasks: how far a task is from the start and from the end of its workflow. Neighbours: `problem`.

Top and bottom level with mean durations and mean transfers; the bottom level is HEFT's upward rank (Topcuoglu et al.
2002, eq. 8), the top level its downward rank (eq. 10).
"""

from collections.abc import Callable

from tephra.placement.schedule.problem import Problem

Duration = Callable[[int], float]
Transfer = Callable[[int, int], float]


def bottom_levels(problem: Problem, duration: Duration | None = None, transfer: Transfer | None = None) -> list[float]:
    """Per task, the longest way from its start to the end of the workflow."""
    takes, travels = duration or problem.mean_duration.__getitem__, transfer or _mean(problem)
    level = [0.0] * len(problem.tasks)
    for task in reversed(problem.topological):
        rest = (travels(task, target) + level[target] for target in problem.successors[task])
        level[task] = takes(task) + max(rest, default=0.0)
    return level


def top_levels(problem: Problem, duration: Duration | None = None, transfer: Transfer | None = None) -> list[float]:
    """Per task, the longest way from the start of the workflow to its start."""
    takes, travels = duration or problem.mean_duration.__getitem__, transfer or _mean(problem)
    level = [0.0] * len(problem.tasks)
    for task in problem.topological:
        before = (level[source] + takes(source) + travels(source, task) for source in problem.predecessors[task])
        level[task] = max(before, default=0.0)
    return level


def _mean(problem: Problem) -> Transfer:
    return lambda source, target: problem.mean_transfer[source, target]
