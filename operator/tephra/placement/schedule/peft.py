"""PEFT (Arabnejad, Barbosa, IEEE TPDS 25(3), 2014): HEFT that looks ahead by an optimistic cost table.

Canonical: the row of an exit task is 0 and the finish time kept is the true one. ncl_sfcsim stores finish plus table as
the finish time and gives the exit task its duration.
"""

import heapq
from statistics import fmean

from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.timeline import Partial, Plan


def peft(problem: Problem) -> Plan:
    """Schedule without regard to images: the ready task of the largest mean row to the least finish + table."""
    table = optimistic_costs(problem)
    rank = [fmean(row) for row in table]
    partial, waiting = Partial(problem), list(map(len, problem.predecessors))
    ready = [(-rank[task], task) for task, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    while ready:
        task = heapq.heappop(ready)[1]
        partial.place(task, _optimistic_finish(partial, task, table[task]))
        for target in problem.successors[task]:
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, (-rank[target], target))
    return partial.plan()


def _optimistic_finish(partial: Partial, task: int, row: list[float]) -> int:
    return min(partial.candidates(task), key=lambda vcpu: partial.finish(task, vcpu) + row[vcpu])


def optimistic_costs(problem: Problem) -> list[list[float]]:
    """[task][vcpu]: the shortest way from the task's end on that vCPU to the end of the workflow (eq. 3).

    Vcpus of one VM exchange data for nothing, so the mean transfer is counted between VMs.
    """
    table = [[0.0] * len(problem.vcpus) for _ in problem.tasks]
    for task in reversed(problem.topological):
        for target in problem.successors[task]:
            costs = [rest + time for rest, time in zip(table[target], problem.duration[target], strict=True)]
            travel = problem.mean_transfer[task, target]
            anywhere = min(costs) + travel
            for vcpu, vm in enumerate(problem.vm):
                here = min(cost for cost, other in zip(costs, problem.vm, strict=True) if other == vm)
                table[task][vcpu] = max(table[task][vcpu], min(here, anywhere))
    return table
