"""Partial schedules: when a vCPU has room, when a task could end on it, and placing it there. Neighbours: `problem`.

Every list scheduler is a loop over :class:`Partial`; insertion into idle slots is as in Topcuoglu et al. 2002, §4.1.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tephra.placement.schedule.problem import Problem

Pull = tuple[int, int]  # image, VM


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scheduler decides: a vCPU for each task, and a topological order that each vCPU keeps to."""

    vcpu: tuple[int, ...]
    order: tuple[int, ...]


class Timeline:
    """What runs when on each vCPU, and how much of a core is taken."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._busy: list[list[tuple[int, int, int]]] = [[] for _ in problem.vcpus]  # (end, start, usage)

    def earliest(self, vcpu: int, ready: int, duration: int, usage: int) -> int:
        """The first moment from `ready` on at which the vCPU is idle, and its core below the cap, for `duration`."""
        start: int | None = ready
        while start is not None:
            begin, start = start, self._blocked_until(vcpu, start, duration, usage)
        return begin

    def reserve(self, vcpu: int, start: int, duration: int, usage: int) -> None:
        """Take the vCPU from `start` for `duration`."""
        insort(self._busy[vcpu], (start + duration, start, usage))

    def _blocked_until(self, vcpu: int, start: int, duration: int, usage: int) -> int | None:
        """None when [start, start + duration) is free, else the end of what is in its way."""
        busy = self._busy[vcpu]
        index = bisect_right(busy, (start, start, 1 << 60))
        if index < len(busy) and busy[index][1] < start + duration:
            return busy[index][0]
        cap = self._problem.cap
        return None if cap is None else self._full_until(vcpu, start, start + duration, cap - usage)

    def _full_until(self, vcpu: int, start: int, end: int, room: int) -> int | None:
        """The first moment something on the core ends that leaves less than `room` within [start, end)."""
        slots = (slot for other in self._problem.siblings[vcpu] for slot in self._busy[other])
        others = [slot for slot in slots if slot[0] > start and slot[1] < end]
        for moment in sorted({max(start, slot[1]) for slot in others}):
            active = [slot for slot in others if slot[1] <= moment < slot[0]]
            if sum(slot[2] for slot in active) > room:
                return min(slot[0] for slot in active)
        return None


class Partial:
    """A schedule under construction.

    `arrived` maps (image, VM) to when the image is there; a pair that is neither in it nor present may not be used.
    None leaves images out of the reckoning. `limit` bounds how many vCPUs are opened.
    """

    def __init__(self, problem: Problem, arrived: Mapping[Pull, int] | None = None, limit: int | None = None) -> None:
        self.problem = problem
        self.start = [0] * len(problem.tasks)
        self.end = [0] * len(problem.tasks)
        self.vcpu = [-1] * len(problem.tasks)
        self._timeline = Timeline(problem)
        self._arrived, self._limit = arrived, limit
        self._used: set[int] = set()
        self._placed: list[int] = []

    @property
    def used(self) -> set[int]:
        """The vCPUs that run something."""
        return self._used

    @property
    def makespan(self) -> int:
        return max(self.end)

    def candidates(self, task: int) -> list[int]:
        """The vCPUs the task may be placed on: its image gets there, and the limit holds."""
        full = self._limit is not None and len(self._used) >= self._limit
        vcpus: Iterable[int] = self._used if full else range(len(self.problem.vcpus))
        return sorted(vcpu for vcpu in vcpus if self.may_run(task, vcpu))

    def may_run(self, task: int, vcpu: int) -> bool:
        """Whether the task's image is or gets on the vCPU's VM."""
        return self._image_at(self.problem.image[task], self.problem.vm[vcpu]) is not None

    def ready(self, task: int, vcpu: int) -> int:
        """When data, input and image of the task are on the vCPU's VM; its predecessors are placed."""
        problem, vm = self.problem, self.problem.vm[vcpu]
        ready = max(problem.input[task][vm], self._image_at(problem.image[task], vm) or 0)
        for source in problem.predecessors[task]:
            ready = max(ready, self.end[source] + problem.transfer[source, task][problem.vm[self.vcpu[source]]][vm])
        return ready

    def finish(self, task: int, vcpu: int) -> int:
        """When the task would end on the vCPU, inserted into the first idle slot that holds it."""
        duration = self.problem.duration[task][vcpu]
        return self._timeline.earliest(vcpu, self.ready(task, vcpu), duration, self.problem.usage[task]) + duration

    def place(self, task: int, vcpu: int) -> None:
        """Put the task there."""
        duration, end = self.problem.duration[task][vcpu], self.finish(task, vcpu)
        self._timeline.reserve(vcpu, end - duration, duration, self.problem.usage[task])
        self.start[task], self.end[task], self.vcpu[task] = end - duration, end, vcpu
        self._used.add(vcpu)
        self._placed.append(task)

    def plan(self) -> Plan:
        """The decisions, once every task is placed."""
        return Plan(tuple(self.vcpu), tuple(sorted(self._placed, key=self.start.__getitem__)))

    def _image_at(self, image: int, vm: int) -> int | None:
        if self._arrived is None or not self.problem.pull[image][vm]:
            return 0
        return self._arrived.get((image, vm))


def arrivals(problem: Problem, pulls: Iterable[Pull]) -> dict[Pull, int]:
    """When each image is on its VM, pulled one after the other from time 0 (the repository serves one at a time)."""
    clock, arrived = 0, {}
    for image, vm in pulls:
        clock += problem.pull[image][vm]
        arrived[image, vm] = clock
    return arrived
