"""SF-CUV and CUV-FIX: service function clustering for utilising vCPUs. Neighbours: `clusters`, `timeline`, `levels`.

Kanemitsu, Kanai, Katto, Nakazato, "SF-CUV", J. Supercomputing 77(11), 2021, doi 10.1007/s11227-021-03789-2: clusters
give a first vCPU to each function (phase I); functions are then ordered, and moved to vCPUs that already run their
type, so that instances are shared (phase II). CUV-FIX is phase II without the moves. Images do not enter, as in theirs.
"""

from collections.abc import Callable, Iterable

from tephra.placement.schedule.clusters import cluster_vcpus
from tephra.placement.schedule.levels import bottom_levels, top_levels
from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.timeline import Partial, Plan

Choose = Callable[[Partial, list[int], int], int]


def sf_cuv(problem: Problem) -> Plan:
    """Both phases."""
    return _order(problem, _shared)


def cuv_fix(problem: Problem) -> Plan:
    """The vCPUs of phase I stay."""
    return _order(problem, lambda _partial, first, task: first[task])


def _order(problem: Problem, choose: Choose) -> Plan:
    """Phase II: of the ready functions the one of the largest top + bottom level, to the vCPU that `choose` says."""
    first = cluster_vcpus(problem)

    def takes(task: int) -> float:
        return problem.duration[task][first[task]]

    def travels(source: int, target: int) -> float:
        return problem.transfer[source, target][problem.vm[first[source]]][problem.vm[first[target]]]

    top, bottom = top_levels(problem, takes, travels), bottom_levels(problem, takes, travels)
    partial, waiting = Partial(problem), list(map(len, problem.predecessors))
    ready = {task for task, count in enumerate(waiting) if not count}
    while ready:
        task = max(ready, key=lambda task: (top[task] + bottom[task], -task))
        ready.remove(task)
        partial.place(task, choose(partial, first, task))
        for target in problem.successors[task]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.add(target)
                top[target] = partial.ready(target, first[target])
    return partial.plan()


def _shared(partial: Partial, first: list[int], task: int) -> int:
    """Entry functions stay; where other vCPUs hold the type, theirs unless the own VM is strictly earlier; else any."""
    problem, own = partial.problem, first[task]
    if not problem.predecessors[task]:
        return own
    same = [other for other, image in enumerate(problem.image) if image == problem.image[task]]
    holders = {partial.vcpu[other] for other in same} - {-1, own}
    if not holders:
        return _earliest(partial, task, range(len(problem.vcpus)))
    beside = _earliest(partial, task, (vcpu for vcpu, vm in enumerate(problem.vm) if vm == problem.vm[own]))
    holder = _earliest(partial, task, holders)
    return beside if partial.finish(task, beside) < partial.finish(task, holder) else holder


def _earliest(partial: Partial, task: int, vcpus: Iterable[int]) -> int:
    return min(vcpus, key=lambda vcpu: (partial.finish(task, vcpu), vcpu))
