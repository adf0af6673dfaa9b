"""Ours: knows which images are where and that the repository serves one transfer at a time. Neighbours: `timeline`.

Images are prefetched: every transfer a schedule needs starts as soon as the repository is free, in an order that is
part of the search, instead of when a function is about to start. Two local searches, deterministic for a seed: the
first is over the list of transfers (which image goes to which VM, in what order), each list judged by a list schedule
that shares what is fetched; the second moves the functions that the makespan hangs on between vCPUs and in order, and
exchanges what two vCPUs do from one of them on. The plans
of HEFT, PEFT and SF-CUV are among the starting points, so the result is never later than theirs under the same limit.
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tephra.placement.schedule.bounds import lower_bound
from tephra.placement.schedule.heft import earliest_finish, heft
from tephra.placement.schedule.levels import bottom_levels
from tephra.placement.schedule.peft import peft
from tephra.placement.schedule.problem import Problem
from tephra.placement.schedule.result import Schedule, named
from tephra.placement.schedule.sf_cuv import sf_cuv
from tephra.placement.schedule.timeline import Partial, Plan, Pull, arrivals

Pulls = tuple[Pull, ...]

STARTS, NEAR = 3, 1.1  # how many starts are improved, and how far from the best one the others may be


@dataclass(frozen=True, slots=True)
class Candidate:
    """A complete schedule: its transfers in order, its decisions, and the times that follow from them."""

    pulls: Pulls
    plan: Plan
    partial: Partial

    @property
    def cost(self) -> tuple[int, int, int]:
        """Makespan, vCPUs, instances (a type on a vCPU): the earlier decides."""
        image = self.partial.problem.image
        instances = {(image[task], vcpu) for task, vcpu in enumerate(self.partial.vcpu)}
        return self.partial.makespan, len(self.partial.used), len(instances)


def aware(problem: Problem, *, limit: int | None = None, seed: int = 0, effort: int = 400) -> Schedule:
    """A schedule of small makespan on at most `limit` vCPUs (None: all); `effort` bounds the trials of each search."""
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; a schedule needs at least one vCPU")
    source, bound = random.Random(seed), lower_bound(problem)
    first, *others = sorted(_starts(problem, limit), key=lambda candidate: candidate.cost)
    first = _search_pulls(problem, first, limit, source, effort, bound)
    different: dict[tuple[int, ...], Candidate] = {}
    for start in (first, *(other for other in others if other.cost[0] <= NEAR * first.cost[0])):
        different.setdefault(start.plan.vcpu, start)
    chosen = list(different.values())[:STARTS]
    found = [_search_plan(problem, start, limit, source, effort, bound) for start in chosen]
    return _schedule(problem, min(found, key=lambda candidate: candidate.cost), bound, "aware")


def prefetched(problem: Problem, plan: Plan, solver: str) -> Schedule:
    """Any plan, its images fetched ahead in the order of its tasks."""
    result = _decoded(problem, tuple(_needed(problem, plan)), plan)
    return _schedule(problem, result, lower_bound(problem), solver)


def _schedule(problem: Problem, result: Candidate, bound: int, solver: str) -> Schedule:
    needed = _needed(problem, result.plan)
    times = {pull: at for pull, at in arrivals(problem, result.pulls).items() if pull in needed}
    return named(problem, result.partial.vcpu, result.partial.start, times, bound=bound, solver=solver)


def _starts(problem: Problem, limit: int | None) -> Iterator[Candidate]:
    """Everything missing on one VM, for each VM; and the plans of the literature that keep the limit."""
    for pulls, vm in {tuple(_on_one_vm(problem, vm)): vm for vm in sorted(set(problem.vm))}.items():
        found = _listed(problem, pulls, limit)
        yield found or _decoded(problem, pulls, _serial(problem, problem.vm.index(vm)))
    for plan in (heft(problem), peft(problem), sf_cuv(problem)):
        if limit is None or len(set(plan.vcpu)) <= limit:
            yield _decoded(problem, tuple(_needed(problem, plan)), plan)


def _serial(problem: Problem, vcpu: int) -> Plan:
    return Plan((vcpu,) * len(problem.tasks), problem.topological)


def _on_one_vm(problem: Problem, vm: int) -> Iterable[Pull]:
    """The images that are not there yet, those of the longest way to the end first."""
    rank = bottom_levels(problem)
    tasks = sorted(problem.topological, key=lambda task: -rank[task])
    images = dict.fromkeys(problem.image[task] for task in tasks)
    return ((image, vm) for image in images if problem.pull[image][vm])


def _needed(problem: Problem, plan: Plan) -> dict[Pull, None]:
    """The transfers of a plan in the order in which its tasks start."""
    pulls = ((problem.image[task], problem.vm[plan.vcpu[task]]) for task in plan.order)
    return dict.fromkeys(pull for pull in pulls if problem.pull[pull[0]][pull[1]])


def _listed(problem: Problem, pulls: Pulls, limit: int | None) -> Candidate | None:
    """By upward rank to the earliest finish, on VMs that get the image; None where the limit leaves a task no vCPU."""
    rank = bottom_levels(problem)
    partial = Partial(problem, arrivals(problem, pulls), limit)
    for task in sorted(problem.topological, key=lambda task: -rank[task]):
        if not partial.candidates(task):
            return None
        partial.place(task, earliest_finish(partial, task))
    return Candidate(pulls, partial.plan(), partial)


def _decoded(problem: Problem, pulls: Pulls, plan: Plan) -> Candidate:
    """The plan's tasks, in its order and on its vCPUs, each as early as possible."""
    partial = Partial(problem, arrivals(problem, pulls))
    for task in plan.order:
        partial.place(task, plan.vcpu[task])
    return Candidate(pulls, plan, partial)


def _search_pulls(
    problem: Problem, best: Candidate, limit: int | None, source: random.Random, effort: int, bound: int
) -> Candidate:
    """First improvement over neighbouring lists, until none of them is better."""
    trials = effort
    improved = True
    while improved and best.cost[0] > bound:
        improved = False
        neighbours = list(_neighbours(problem, best.pulls))
        source.shuffle(neighbours)
        for pulls in neighbours:
            if not trials:
                return best
            trials -= 1
            trial = _listed(problem, pulls, limit)
            if trial is not None and trial.cost < best.cost:
                best, improved = trial, True
                break
    return best


def _neighbours(problem: Problem, pulls: Pulls) -> Iterator[Pulls]:
    """Lists with one transfer more, one less, one to another VM, or two neighbours exchanged."""
    missing = [(image, vm) for image, times in enumerate(problem.pull) for vm, time in enumerate(times) if time]
    for pull in (pull for pull in missing if pull not in pulls):
        for at in range(len(pulls) + 1):
            yield (*pulls[:at], pull, *pulls[at:])
        for at in (at for at, (image, _) in enumerate(pulls) if image == pull[0]):
            yield (*pulls[:at], pull, *pulls[at + 1 :])
    for at in range(len(pulls)):
        rest = (*pulls[:at], *pulls[at + 1 :])
        if pulls[at][0] in {image for image, _ in rest}:
            yield rest
        if at:
            yield (*pulls[: at - 1], pulls[at], pulls[at - 1], *pulls[at + 1 :])


def _search_plan(
    problem: Problem, best: Candidate, limit: int | None, source: random.Random, effort: int, bound: int
) -> Candidate:
    """Change the plan at a task that the makespan hangs on; equal cost is accepted."""
    for _ in range(effort):
        if best.cost[0] <= bound:
            break
        task = source.choice(_critical(best.partial))
        change = source.choice((_moved, _exchanged))
        plan = change(best, task, source)
        if plan != best.plan and (limit is None or len(set(plan.vcpu)) <= limit):
            trial = _decoded(problem, best.pulls, plan)
            best = trial if trial.cost <= best.cost else best
    return best


def _moved(candidate: Candidate, task: int, source: random.Random) -> Plan:
    """The plan with the task on a random vCPU that may run it, at a random place the graph allows."""
    problem, plan = candidate.partial.problem, candidate.plan
    vcpu = list(plan.vcpu)
    vcpu[task] = source.choice(candidate.partial.candidates(task))
    order = [other for other in plan.order if other != task]
    at = {other: place for place, other in enumerate(order)}
    low = max((at[other] + 1 for other in problem.predecessors[task]), default=0)
    high = min((at[other] for other in problem.successors[task]), default=len(order))
    order.insert(source.randint(low, high), task)
    return Plan(tuple(vcpu), tuple(order))


def _exchanged(candidate: Candidate, task: int, source: random.Random) -> Plan:
    """The plan with the task's vCPU and another one exchanged from the task on; unchanged where an image is missing."""
    partial, plan = candidate.partial, candidate.plan
    mine, other = plan.vcpu[task], source.choice(partial.candidates(task))
    becomes = {mine: other, other: mine}
    vcpu = list(plan.vcpu)
    for later in plan.order[plan.order.index(task) :]:
        vcpu[later] = becomes.get(plan.vcpu[later], plan.vcpu[later])
        if not partial.may_run(later, vcpu[later]):
            return plan
    return Plan(tuple(vcpu), plan.order)


def _critical(partial: Partial) -> list[int]:
    """The tasks that the makespan hangs on: back from those that end last, over whatever each one waited for."""
    path = [task for task, end in enumerate(partial.end) if end == partial.makespan]
    found = set(path)
    while path:
        before = set(_waited_for(partial, path.pop())) - found
        found |= before
        path += before
    return sorted(found)


def _waited_for(partial: Partial, task: int) -> list[int]:
    """The tasks whose end, or whose data's arrival, was the start of this one."""
    problem, vcpu, start = partial.problem, partial.vcpu[task], partial.start[task]
    beside = {vcpu, *problem.siblings[vcpu]}
    waited = [other for other, on in enumerate(partial.vcpu) if on in beside and partial.end[other] == start]
    for other in problem.predecessors[task]:
        travel = problem.transfer[other, task][problem.vm[partial.vcpu[other]]][problem.vm[vcpu]]
        if partial.end[other] + travel == start:
            waited.append(other)
    return waited
