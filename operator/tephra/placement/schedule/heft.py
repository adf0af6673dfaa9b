"""HEFT (Topcuoglu, Hariri, Wu, IEEE TPDS 13(3), 2002): by upward rank, to the vCPU of the earliest finish.

Canonical. ncl_sfcsim's main runs it on an environment that a random baseline has already filled; this one starts empty.
"""

from tephra.placement.schedule.levels import bottom_levels
from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.timeline import Partial, Plan


def heft(problem: Problem) -> Plan:
    """Schedule without regard to images."""
    rank = bottom_levels(problem)
    partial = Partial(problem)
    for task in sorted(problem.topological, key=lambda task: -rank[task]):
        partial.place(task, earliest_finish(partial, task))
    return partial.plan()


def earliest_finish(partial: Partial, task: int) -> int:
    """The vCPU on which the task would end first."""
    return min(partial.candidates(task), key=lambda vcpu: partial.finish(task, vcpu))
