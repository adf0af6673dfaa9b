"""CAP and COM: the capacity-based and the communication-locality-based schedulers that SF-CUV is compared with.

Both are known only by the sentences of Fed4IoT D3.2, section 4.2.4; what these leave open is stated at each function.
"""

from tephra.placement.schedule.levels import bottom_levels, top_levels
from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.timeline import Partial, Plan


def cap(problem: Problem) -> Plan:
    """By increasing mean finish time, to an idle slot of the vCPU with the largest residual capacity.

    Residual capacity is read as the least time taken so far; the faster vCPU breaks a tie.
    """
    level = top_levels(problem)
    partial, taken = Partial(problem), [0] * len(problem.vcpus)
    for task in sorted(problem.topological, key=lambda task: level[task] + problem.mean_duration[task]):
        times = problem.duration[task]
        vcpu = min((taken[vcpu], times[vcpu], vcpu) for vcpu in partial.candidates(task))[2]
        partial.place(task, vcpu)
        taken[vcpu] += times[vcpu]
    return partial.plan()


def com(problem: Problem) -> Plan:
    """By upward rank, to the nearest vCPU with sufficient capacity.

    Near is a small time for all the data that come in; capacity suffices when the core has room as soon as the data are
    there, or in the end nowhere; the earliest finish breaks a tie.
    """
    rank, partial = bottom_levels(problem), Partial(problem)
    for task in sorted(problem.topological, key=lambda task: -rank[task]):
        partial.place(task, min((_distance(partial, task, vcpu), vcpu) for vcpu in partial.candidates(task))[1])
    return partial.plan()


def _distance(partial: Partial, task: int, vcpu: int) -> tuple[bool, int, int]:
    problem, vm = partial.problem, partial.problem.vm[vcpu]
    incoming = problem.input[task][vm] + sum(
        problem.transfer[source, task][problem.vm[partial.vcpu[source]]][vm] for source in problem.predecessors[task]
    )
    finish = partial.finish(task, vcpu)
    waits = problem.cap is not None and finish > partial.ready(task, vcpu) + problem.duration[task][vcpu]
    return waits, incoming, finish
