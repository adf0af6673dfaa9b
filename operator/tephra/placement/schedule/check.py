"""The independent checker of schedules: reads the model and the result, shares no code with what makes them.

It recomputes every duration, transfer and image fetch from the workflow and the platform, in exact fractions.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from tephra.placement.schedule.model import Edge, Platform, Workflow
from tephra.placement.schedule.result import Fetch, Run, Schedule


def violations(workflow: Workflow, platform: Platform, schedule: Schedule) -> list[str]:
    """What is wrong with the schedule, in words; empty when nothing is."""
    tasks, vcpus = {task.name for task in workflow.tasks}, {vcpu.name for vcpu in platform.vcpus}
    names = [run.task for run in schedule.runs]
    if sorted(names) != sorted(tasks):
        return [f"the tasks run are not those of the workflow, once each: {sorted(tasks.symmetric_difference(names))}"]
    if unknown := {run.vcpu for run in schedule.runs} - vcpus:
        return [f"runs on vCPUs that are not there: {sorted(unknown)}"]
    judge = _Judge(workflow, platform, schedule)
    return [
        *judge.durations(),
        *judge.overlaps(),
        *judge.data(),
        *judge.images(),
        *judge.repository(),
        *judge.cores(),
        *judge.bound(),
    ]


class _Judge:
    """One method per kind of constraint."""

    def __init__(self, workflow: Workflow, platform: Platform, schedule: Schedule) -> None:
        self._workflow, self._platform, self._schedule = workflow, platform, schedule
        self._run = {run.task: run for run in schedule.runs}
        self._task = {task.name: task for task in workflow.tasks}
        self._vcpu = {vcpu.name: vcpu for vcpu in platform.vcpus}
        self._vm = {vm.name: vm for vm in platform.vms}

    def durations(self) -> Iterator[str]:
        for run in self._schedule.runs:
            task, vcpu = self._task[run.task], self._vcpu[run.vcpu]
            expected = Fraction(task.measured_us.get(vcpu.name) or Fraction(task.work_mi * 1_000_000, vcpu.mips))
            if run.start_us < 0 or not expected <= run.end_us - run.start_us < expected + 1:
                yield f"{run.task} on {run.vcpu}: {run.start_us}..{run.end_us}, but it takes {float(expected):.1f}"

    def overlaps(self) -> Iterator[str]:
        for vcpu in self._vcpu:
            runs = sorted((run for run in self._schedule.runs if run.vcpu == vcpu), key=lambda run: run.start_us)
            for one, other in pairwise(runs):
                if other.start_us < one.end_us:
                    yield f"{one.task} and {other.task} overlap on {vcpu}"

    def data(self) -> Iterator[str]:
        for edge in self._workflow.edges:
            arrival = self._arrival(edge)
            if self._run[edge.target].start_us < arrival:
                yield f"{edge.target} starts before the data of {edge.source} arrive at {float(arrival):.1f}"
        for run in self._schedule.runs:
            size, network = self._task[run.task].input_bytes, self._network(run)
            arrival = Fraction(size * 8, self._platform.bandwidth_mbps[self._platform.file_server, network])
            if run.start_us < arrival:
                yield f"{run.task} starts before its input arrives at {float(arrival):.1f}"

    def images(self) -> Iterator[str]:
        for run in self._schedule.runs:
            image, vm = self._task[run.task].type, self._vcpu[run.vcpu].vm
            fetched = [fetch.end_us for fetch in self._schedule.fetches if (fetch.image, fetch.vm) == (image, vm)]
            free = image in self._vm[vm].present or not self._platform.image_bytes.get(image)
            if not free and (not fetched or min(fetched) > run.start_us):
                yield f"{run.task} starts on {vm} before its image {image} is there"

    def repository(self) -> Iterator[str]:
        for fetch in self._schedule.fetches:
            expected = self._fetch_time(fetch)
            if fetch.start_us < 0 or not expected <= fetch.end_us - fetch.start_us < expected + 1:
                when = f"{fetch.start_us}..{fetch.end_us}"
                yield f"image {fetch.image} to {fetch.vm}: {when}, but it takes {float(expected):.1f}"
        for one, other in pairwise(sorted(self._schedule.fetches, key=lambda fetch: fetch.start_us)):
            if other.start_us < one.end_us:
                yield f"the repository serves {one.image} to {one.vm} and {other.image} to {other.vm} at once"

    def cores(self) -> Iterator[str]:
        cap = self._platform.core_cap_m
        for run in self._schedule.runs if cap is not None else ():
            core = self._vcpu[run.vcpu].core
            beside = [
                other
                for other in self._schedule.runs
                if self._vcpu[other.vcpu].core == core and other.start_us <= run.start_us < other.end_us
            ]
            usage = sum(self._task[other.task].usage_m for other in beside)
            if cap is not None and usage > cap:
                yield f"core {core} at {run.start_us}: usage {usage} is above the cap {cap}"

    def bound(self) -> Iterator[str]:
        if self._schedule.lower_bound_us > self._schedule.makespan_us:
            yield f"bound {self._schedule.lower_bound_us} is above the makespan {self._schedule.makespan_us}"

    def _network(self, run: Run) -> str:
        return self._vm[self._vcpu[run.vcpu].vm].network

    def _arrival(self, edge: Edge) -> Fraction:
        source, target = self._run[edge.source], self._run[edge.target]
        if self._vcpu[source.vcpu].vm == self._vcpu[target.vcpu].vm:
            return Fraction(source.end_us)
        pair = self._network(source), self._network(target)
        return source.end_us + Fraction(edge.size_bytes * 8, self._platform.bandwidth_mbps[pair])

    def _fetch_time(self, fetch: Fetch) -> Fraction:
        pair = self._platform.repository, self._vm[fetch.vm].network
        return Fraction(self._platform.image_bytes[fetch.image] * 8, self._platform.bandwidth_mbps[pair])
