"""A lower bound on the makespan of every schedule of a problem. Neighbours: `problem`, `levels`."""

from tephra.placement.schedule.levels import bottom_levels
from tephra.placement.schedule.problem import Problem


def lower_bound(problem: Problem) -> int:
    """The largest of four relaxations, in microseconds; valid for schedules with prefetch too.

    The longest path at the best speeds without transfers; all work spread evenly over all vCPUs; under a cap, all usage
    spread evenly over all cores; and the repository as a single machine, where each image that is nowhere yet is
    fetched once, to the VM nearest to it, and the longest path after the first task that needs it follows: optimal by
    largest tail first (Jackson's rule for delivery times).
    """
    best = [min(row) for row in problem.duration]
    tails = bottom_levels(problem, duration=best.__getitem__, transfer=lambda *_: 0)
    path = max(tail + min(inputs) for tail, inputs in zip(tails, problem.input, strict=True))
    return max(int(path), -(-sum(best) // len(problem.vcpus)), _cores(problem, best), _repository(problem, tails))


def _cores(problem: Problem, best: list[int]) -> int:
    if problem.cap is None:
        return 0
    usage = sum(time * share for time, share in zip(best, problem.usage, strict=True))
    return -(-usage // (problem.cap * len(set(problem.core))))


def _repository(problem: Problem, tails: list[float]) -> int:
    needed = [image for image, times in enumerate(problem.pull) if min(times)]
    tail = {
        image: max(int(tails[task]) for task, needs in enumerate(problem.image) if needs == image) for image in needed
    }
    clock = bound = 0
    for image in sorted(needed, key=lambda image: -tail[image]):
        clock += min(problem.pull[image])
        bound = max(bound, clock + tail[image])
    return bound
