"""The figures of merit of a schedule, after Fed4IoT D3.2 §4.2.4. Neighbours: `result`, `problem`."""

from dataclasses import dataclass

from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.result import Schedule


@dataclass(frozen=True, slots=True)
class Figures:
    """`sharing` is functions per instance, an instance being a type on a vCPU or, for `vm_sharing`, on a VM.

    `efficiency` is the serial time on the fastest vCPU over makespan x vCPUs used.
    """

    makespan_us: int
    vcpus: int
    sharing: float
    vm_sharing: float
    efficiency: float


def figures(problem: Problem, schedule: Schedule) -> Figures:
    """The figures of a schedule of the problem."""
    vcpu = {run.task: problem.vcpus.index(run.vcpu) for run in schedule.runs}
    on = [vcpu[name] for name in problem.tasks]
    instances = set(zip(problem.image, on, strict=True))
    on_vms = {(image, problem.vm[at]) for image, at in instances}
    serial = min(map(sum, zip(*problem.duration, strict=True)))
    return Figures(
        makespan_us=schedule.makespan_us,
        vcpus=len(set(on)),
        sharing=len(on) / len(instances),
        vm_sharing=len(on) / len(on_vms),
        efficiency=serial / (schedule.makespan_us * len(set(on))),
    )
