"""The optimum of small cases by CP-SAT, with prefetch as in `aware`; its schedule is the hint. Neighbours: `problem`.

An optional interval for each task on each vCPU and for each image on each VM; vCPUs and the repository do one thing at
a time, cores keep the cap; data and images arrive before a task starts where it runs.
"""

from dataclasses import dataclass
from math import ceil

from ortools.sat.python import cp_model

from tephra.placement.schedule.aware import aware
from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.result import Schedule, named
from tephra.placement.schedule.timeline import Pull


def exact(
    problem: Problem,
    *,
    limit: int | None = None,
    seed: int = 0,
    seconds: float = 30.0,
    gap: float = 0.0,
    workers: int = 1,
) -> Schedule:
    """The best schedule found in `seconds` on at most `limit` vCPUs, and the bound that CP-SAT itself has proved.

    It ends as soon as the schedule is proved to be within `gap`, as a share, of the optimum.
    """
    hint = aware(problem, limit=limit, seed=seed)
    model = _Model(problem, limit, hint)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = seed
    solver.parameters.relative_gap_limit = gap
    status = solver.solve(model.cp)
    if status == cp_model.UNKNOWN:
        return Schedule(hint.runs, hint.fetches, hint.lower_bound_us, "cp-sat: time is up, the hint")
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise RuntimeError(f"CP-SAT calls the model {solver.status_name(status)}, yet a schedule of it is known")
    return model.schedule(solver)


@dataclass(frozen=True, slots=True)
class _Interval:
    """An optional interval: whether it is, and when it starts."""

    here: cp_model.IntVar
    start: cp_model.IntVar
    interval: cp_model.IntervalVar


class _Model:
    """The variables and constraints."""

    def __init__(self, problem: Problem, limit: int | None, hint: Schedule) -> None:
        self.cp, self._problem, self._horizon = cp_model.CpModel(), problem, hint.makespan_us
        self._start = [self._time(f"start {name}") for name in problem.tasks]
        self._end = [self._time(f"end {name}") for name in problem.tasks]
        tasks, vcpus, vms = range(len(problem.tasks)), range(len(problem.vcpus)), range(len(problem.vms))
        self._runs = [[self._run(task, vcpu) for vcpu in vcpus] for task in tasks]
        self._on = [[self._on_vm(task, vm) for vm in vms] for task in tasks]
        self._pulls = self._add_pulls()
        self._add_first_pulls()
        self._add_resources(limit)
        for source, target in problem.transfer:
            self._add_edge(source, target)
        for task in tasks:
            self._add_arrivals(task)
        makespan = self._time("makespan")
        self.cp.add_max_equality(makespan, self._end)
        self.cp.minimize(makespan)
        self._add_hint(hint)

    def schedule(self, solver: cp_model.CpSolver) -> Schedule:
        """What the solver found."""
        vcpu = [next(v for v, run in enumerate(runs) if solver.value(run.here)) for runs in self._runs]
        start = [solver.value(start) for start in self._start]
        needed = {(image, self._problem.vm[on]) for image, on in zip(self._problem.image, vcpu, strict=True)}
        arrived = {
            (image, vm): solver.value(pull.start) + self._problem.pull[image][vm]
            for (image, vm), pull in self._pulls.items()
            if (image, vm) in needed
        }
        return named(self._problem, vcpu, start, arrived, bound=ceil(solver.best_objective_bound), solver="cp-sat")

    def _time(self, name: str) -> cp_model.IntVar:
        return self.cp.new_int_var(0, self._horizon, name)

    def _run(self, task: int, vcpu: int) -> _Interval:
        here = self.cp.new_bool_var(f"{task} on {vcpu}")
        duration = self._problem.duration[task][vcpu]
        start, end = self._start[task], self._end[task]
        interval = self.cp.new_optional_interval_var(start, duration, end, here, f"run {task} {vcpu}")
        return _Interval(here, self._start[task], interval)

    def _on_vm(self, task: int, vm: int) -> cp_model.IntVar:
        here = self.cp.new_bool_var(f"{task} in {vm}")
        runs = self._runs[task]
        self.cp.add(sum(run.here for vcpu, run in enumerate(runs) if self._problem.vm[vcpu] == vm) == here)
        return here

    def _add_pulls(self) -> dict[Pull, _Interval]:
        pulls = {}
        for image, times in enumerate(self._problem.pull):
            for vm, time in enumerate(times):
                if time:
                    here, start = self.cp.new_bool_var(f"pull {image} {vm}"), self._time(f"pull start {image} {vm}")
                    interval = self.cp.new_optional_fixed_size_interval_var(start, time, here, f"pulling {image} {vm}")
                    pulls[image, vm] = _Interval(here, start, interval)
        return pulls

    def _add_first_pulls(self) -> None:
        """Redundant, for the proof: the last part of each image's first transfer, as long as its shortest one.

        They exclude each other, and no task of the type starts before: a single machine that CP-SAT reasons on at once.
        """
        parts = []
        for image, times in enumerate(self._problem.pull):
            if shortest := min(times):
                start = self._time(f"first {image}")
                parts.append(self.cp.new_fixed_size_interval_var(start, shortest, f"first pull {image}"))
                users = (task for task, needs in enumerate(self._problem.image) if needs == image)
                for task in users:
                    self.cp.add(self._start[task] >= start + shortest)
        self.cp.add_no_overlap(parts)

    def _add_resources(self, limit: int | None) -> None:
        problem, cp = self._problem, self.cp
        for runs in self._runs:
            cp.add_exactly_one(run.here for run in runs)
        for vcpu in range(len(problem.vcpus)):
            cp.add_no_overlap(runs[vcpu].interval for runs in self._runs)
        cp.add_no_overlap(pull.interval for pull in self._pulls.values())
        for core in set(problem.core) if problem.cap is not None else ():
            self._add_cap(core, problem.cap or 0)
        if limit is not None:
            self._add_limit(limit)

    def _add_cap(self, core: int, cap: int) -> None:
        """The usage of what runs on the core's vCPUs at the same time."""
        vcpus = [vcpu for vcpu, other in enumerate(self._problem.core) if other == core]
        intervals = [runs[vcpu].interval for runs in self._runs for vcpu in vcpus]
        usage = [usage for usage in self._problem.usage for _ in vcpus]
        self.cp.add_cumulative(intervals, usage, cap)

    def _add_limit(self, limit: int) -> None:
        """At most so many vCPUs run something."""
        opened = [self.cp.new_bool_var(f"open {vcpu}") for vcpu in self._problem.vcpus]
        for runs in self._runs:
            for run, is_open in zip(runs, opened, strict=True):
                self.cp.add_implication(run.here, is_open)
        self.cp.add(sum(opened) <= limit)

    def _add_edge(self, source: int, target: int) -> None:
        """The target follows the source, later by the transfer between their VMs."""
        self.cp.add(self._start[target] >= self._end[source])
        for one, row in enumerate(self._problem.transfer[source, target]):
            for other, time in enumerate(row):
                if time:
                    here = self.cp.add(self._start[target] >= self._end[source] + time)
                    here.only_enforce_if(self._on[source][one], self._on[target][other])

    def _add_arrivals(self, task: int) -> None:
        """Input and image are on the VM before the task starts there."""
        image = self._problem.image[task]
        for vm, here in enumerate(self._on[task]):
            self.cp.add(self._start[task] >= self._problem.input[task][vm]).only_enforce_if(here)
            if pull := self._pulls.get((image, vm)):
                self.cp.add_implication(here, pull.here)
                self.cp.add(self._start[task] >= pull.start + self._problem.pull[image][vm]).only_enforce_if(here)

    def _add_hint(self, hint: Schedule) -> None:
        problem = self._problem
        for run in hint.runs:
            task, vcpu = problem.tasks.index(run.task), problem.vcpus.index(run.vcpu)
            self.cp.add_hint(self._start[task], run.start_us)
            for number, other in enumerate(self._runs[task]):
                self.cp.add_hint(other.here, number == vcpu)
        for fetch in hint.fetches:
            pull = self._pulls[problem.images.index(fetch.image), problem.vms.index(fetch.vm)]
            self.cp.add_hint(pull.here, True)
            self.cp.add_hint(pull.start, fetch.start_us)
