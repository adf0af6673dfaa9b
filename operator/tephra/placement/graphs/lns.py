"""Batch re-optimisation: the placements in force improved together by large-neighbourhood search, few functions moved.

The batch is seen as one request made of all, on what would be free without it; its objective is the model's for that
request, the price of moves included. Round after round a few requests are taken out, some at random in proportion to
what they cost above their bound, the others because they use the same sites; :mod:`.exact` places them anew, jointly,
from where they are and within the migration budget; what is better is kept (Shaw, CP 1998; here the neighbourhoods are
solved by CP-SAT). A request that found no room can be let in the same way: with those around its users moved aside.

Deterministic for a seed: budgets count rounds and CP-SAT's deterministic seconds. Reads :mod:`.instance`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from tephra.placement.graphs import beam, exact
from tephra.placement.graphs.exact import Solution
from tephra.placement.graphs.formulate import formulate
from tephra.placement.graphs.guide import Guide
from tephra.placement.graphs.instance import NONE, Instance, finish, join, read
from tephra.placement.graphs.marginals import Costs, marginals
from tephra.placement.graphs.master import CLOSED, Moves
from tephra.placement.model import Placement, Policy, Request
from tephra.placement.objective import Terms, terms
from tephra.placement.residual import Residual

SOLVER = "lns"
PATCH = 12  # functions taken out at a time, more or less; for a newcomer more every round
SECONDS = 0.2  # of CP-SAT per round, deterministic
NEWCOMER_SECONDS = 1.0  # the same, when there is no solution to start from


@dataclass(frozen=True, slots=True)
class Batch:
    """The placements after re-optimisation, in the order given, each with its objective beside all the others.

    `before` and `after` are objectives of the batch as one request, moves included; `moved` is (request, function) →
    the nodes (from, to); `residual` has the placements in force.
    """

    placements: tuple[Placement, ...]
    residual: Residual
    moved: Mapping[tuple[str, str], tuple[str, str]]
    before: float
    after: float
    rounds: int
    milliseconds: float


def reoptimise(
    residual: Residual,
    placements: Sequence[Placement],
    policy: Policy,
    *,
    migrations: int,
    rounds: int = 20,
    seed: int = 0,
) -> Batch:
    """Improve `placements`, which are in force in `residual`, moving at most `migrations` functions to other nodes.

    Paths may change freely: traffic is re-routed without a function moving. ValueError: a placement is not in force.
    """
    started = perf_counter()
    work = _Work.of(residual, placements, policy, migrations)
    before, random = work.value(), np.random.default_rng(seed)
    for _ in range(rounds if placements else 0):
        work.improve(_neighbours(work, random), seed)
    return work.batch(before, rounds, started)


def admit(
    residual: Residual,
    placements: Sequence[Placement],
    request: Request,
    policy: Policy,
    *,
    migrations: int,
    rounds: int = 10,
    seed: int = 0,
) -> Batch | None:
    """Let in a request that finds no room, by moving at most `migrations` functions of the `placements` in force.

    The batch has the request's placement last; None when no neighbourhood tried has room for it.
    """
    started = perf_counter()
    work = _Work.of(residual, placements, policy, migrations)
    before, random = work.value(), np.random.default_rng(seed)
    alone = beam.place(work.empty, request, policy)
    if alone is None:
        return None
    index = residual.topology.site_index
    wanted = {index[residual.topology.site_of(node)] for node in alone.assignment.values()}
    for number in range(rounds):
        if work.let_in(request, _neighbours(work, random, wanted, PATCH * (number + 1)), seed):
            return work.batch(before, number + 1, started)
    return None


@dataclass(slots=True)
class _Work:
    """The batch while it is worked on; lists are by request."""

    policy: Policy
    migrations: int
    empty: Residual  # without the batch
    residual: Residual  # with it
    asked: list[Request] = field(default_factory=list)
    start: list[dict[str, str]] = field(default_factory=list)  # function → node before; empty for a newcomer
    placements: list[Placement] = field(default_factory=list)
    adds: list[Terms] = field(default_factory=list)  # the objective on what is free without the batch
    regret: list[float] = field(default_factory=list)  # cost above the bound

    @classmethod
    def of(cls, residual: Residual, placements: Sequence[Placement], policy: Policy, migrations: int) -> "_Work":
        """The batch as it is in force."""
        if migrations < 0:
            raise ValueError(f"Batch: migrations is {migrations}; give how many functions may move, 0 or more")
        empty = residual
        for placement in placements:
            empty = empty.release(placement)
        work = cls(policy, migrations, empty, empty)
        for placement in placements:
            work.add(placement, dict(placement.assignment))
        return work

    def add(self, placement: Placement, start: dict[str, str]) -> None:
        """Take on a placement whose functions ran on `start` before."""
        running = replace(placement.request, running=start) if start else placement.request
        self.asked.append(placement.request)
        self.start.append(start)
        self.placements.append(placement)
        self.adds.append(terms(self.empty, running, self.policy))
        self.residual = self.residual.commit(placement)
        self.regret.append(self._regret(len(self.asked) - 1))

    def value(self) -> float:
        """The objective of the batch as one request."""
        everyone = range(len(self.asked))
        instances = [self._instance(self.empty, number, set()) for number in everyone]
        return join(instances).value(*self._solution(instances, everyone)) if instances else 0.0

    def improve(self, chosen: Sequence[int], seed: int) -> None:
        """Place the chosen requests anew, if that is better."""
        without, instances = self._taken_out(chosen)
        now = self._solution(instances, chosen)
        search = exact.improve(join(instances), [now], seed=seed, budget_s=SECONDS, moves=self._moves(chosen))
        if search.best is not None and search.value < search.first * (1 - CLOSED):
            self._accept(chosen, instances, search.best, without)

    def let_in(self, request: Request, chosen: Sequence[int], seed: int) -> bool:
        """Whether the request finds room when the chosen ones may move."""
        without, instances = self._taken_out(chosen)
        newcomer, at = formulate(without, request, self.policy), self._moves(chosen)
        moves = Moves((*at.at, *(NONE for _ in request.functions)), at.most)
        together = join([*instances, newcomer])
        search = exact.improve(together, [], seed=seed, budget_s=NEWCOMER_SECONDS, moves=moves)
        if search.best is None:
            return False
        functions, flows = together.count - newcomer.count, len(together.flows) - len(newcomer.flows)
        nodes, paths = search.best
        self._accept(chosen, instances, Solution(nodes[:functions], paths[:flows]), without)
        self.add(_as_placement(newcomer, request, Solution(nodes[functions:], paths[flows:])), {})
        return True

    def batch(self, before: float, rounds: int, started: float) -> Batch:
        """The result, every placement priced beside the others."""
        placements = tuple(self._beside_others(number) for number in range(len(self.asked)))
        moved = {
            (self.asked[number].name, name): ends
            for number in range(len(self.asked))
            for name, ends in self._moved(number).items()
        }
        spent = (perf_counter() - started) * 1000
        return Batch(placements, self.residual, moved, before, self.value(), rounds, spent)

    def at(self, number: int) -> set[int]:
        """The sites of a request's functions."""
        topology = self.residual.topology
        return {
            int(topology.node_site[topology.node_index[node]]) for node in self.placements[number].assignment.values()
        }

    def functions(self, chosen: Sequence[int]) -> int:
        """How many functions these requests have."""
        return sum(len(self.asked[number].functions) for number in chosen)

    def _taken_out(self, chosen: Sequence[int]) -> tuple[Residual, list[Instance]]:
        """What is free without the chosen requests, and these on it."""
        without = self.residual
        for number in chosen:
            without = without.release(self.placements[number])
        used = set[int]().union(*(self.at(number) for number in range(len(self.asked)) if number not in chosen))
        return without, [self._instance(without, number, used) for number in chosen]

    def _instance(self, without: Residual, number: int, used: set[int]) -> Instance:
        """A request on a residual without it, priced as the batch is; sites in `used` are open already."""
        instance, adds = formulate(without, self.asked[number], self.policy), self.adds[number]
        opening = adds.opening.copy()
        opening[sorted(used)] = 0.0
        return instance.priced(replace(adds, wake=instance.adds.wake, opening=opening))

    def _solution(self, instances: Sequence[Instance], chosen: Sequence[int]) -> Solution:
        """Where the chosen requests are, as one."""
        pairs = zip(instances, chosen, strict=True)
        parts = [read(instance, self.asked[number], self.placements[number]) for instance, number in pairs]
        nodes = tuple(node for part, _ in parts for node in part)
        return Solution(nodes, tuple(path for _, paths in parts for path in paths))

    def _accept(self, chosen: Sequence[int], instances: Sequence[Instance], best: Solution, without: Residual) -> None:
        function = flow = 0
        for number, instance in zip(chosen, instances, strict=True):
            nodes = best.nodes[function : function + instance.count]
            paths = best.paths[flow : flow + len(instance.flows)]
            function, flow = function + instance.count, flow + len(instance.flows)
            self.placements[number] = _as_placement(instance, self.asked[number], Solution(nodes, paths))
            without = without.commit(self.placements[number])
        self.residual = without
        for number in chosen:
            self.regret[number] = self._regret(number)

    def _moves(self, chosen: Sequence[int]) -> Moves:
        """Where the functions of the chosen requests were, and how many of them may be elsewhere."""
        index = self.residual.topology.node_index
        names = ((self.start[number], function.name) for number in chosen for function in self.asked[number].functions)
        at = tuple(index[start[name]] if start else NONE for start, name in names)
        others = (number for number in range(len(self.asked)) if number not in chosen)
        return Moves(at, self.migrations - sum(len(self._moved(number)) for number in others))

    def _moved(self, number: int) -> dict[str, tuple[str, str]]:
        start, now = self.start[number], self.placements[number].assignment
        return {name: (start[name], now[name]) for name in start if start[name] != now[name]}

    def _regret(self, number: int) -> float:
        """What a request costs above its bound, were the others away."""
        instance = self._instance(self.empty, number, set())
        value = instance.value(*read(instance, self.asked[number], self.placements[number]))
        return max(0.0, value - _bound(instance))

    def _beside_others(self, number: int) -> Placement:
        request, placement = self.asked[number], self.placements[number]
        instance = formulate(self.residual.release(placement), request, self.policy)
        return _as_placement(instance, request, Solution(*read(instance, request, placement)), _bound(instance))


def _as_placement(instance: Instance, request: Request, solution: Solution, bound: float = 0.0) -> Placement:
    return finish(instance, request, *solution, lower_bound=bound, solver=SOLVER, started=perf_counter())


def _bound(instance: Instance) -> float:
    return marginals(instance, Costs.of(Guide.of(instance))).bound


def _neighbours(
    work: _Work, random: np.random.Generator, sites: set[int] | None = None, functions: int = PATCH
) -> list[int]:
    """At least two requests to take out, of so many functions: one by its regret, unless `sites` say where; then by
    chance those that share sites with the ones chosen."""
    chosen, everyone = list[int](), range(len(work.asked))
    at = [work.at(number) for number in everyone]
    if sites is None:
        regret = np.array(work.regret) + 1e-3 * (1e-9 + sum(work.regret) / len(at))
        chosen.append(int(random.choice(len(at), p=regret / regret.sum())))
    near = set(sites or at[chosen[0]])
    while len(chosen) < len(at) and (len(chosen) < 2 or work.functions(chosen) < functions):
        shared = np.array([0.0 if number in chosen else 1 / len(at) + len(near & at[number]) for number in everyone])
        chosen.append(int(random.choice(len(at), p=shared / shared.sum())))
        near |= at[chosen[-1]] if sites is None else set()
    return sorted(chosen)
