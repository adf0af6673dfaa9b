"""Exact placement of trees, DAGs and graphs by CP-SAT, from a first solution, within a budget, with a certified bound.

Four steps, each ends the search when it closes the gap:

1. A first solution: the caller's, or that of :mod:`.beam`. :mod:`.marginals` gives a bound, and with it rules out every
   function-at-site and flow-between-sites that no better placement has.
2. Patches: a few functions are placed anew, the others staying at their sites (large-neighbourhood search). A better
   solution rules out more.
3. The master program (:mod:`.master`) over what is left.
4. The routes of the master's solution, by :mod:`.routing`. If crowding makes them dearer, a cut tells the master
   so (logic-based Benders decomposition, Hooker and Ottosson, 2003), and step 3 is repeated.

One worker, a deterministic clock and a seed: equal answers for equal input. Used by :mod:`.solve` and :mod:`.lns`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np
from ortools.sat.python import cp_model

from tephra.placement.graphs import beam, routing
from tephra.placement.graphs.formulate import formulate
from tephra.placement.graphs.guide import Guide
from tephra.placement.graphs.instance import Bools, Instance, finish, read
from tephra.placement.graphs.marginals import Costs, Marginals, marginals
from tephra.placement.graphs.master import CLOSED, Alive, Master, Moves, Nodes
from tephra.placement.model import Placement, Policy, Refusal, Request
from tephra.placement.residual import Residual

SOLVER = "exact"
PATCH = 16  # functions placed anew at a time, more or less
PATCH_SECONDS = 0.1  # of CP-SAT for a patch, deterministic
CHOICES = 20  # sites open to a function in a patch, besides those that the patch uses
BUILD_SECONDS = 1e-5  # what a variable of a program takes before it is solved; counts as deterministic time
PATIENCE = 10  # patches without gain before the master's turn


class Solution(NamedTuple):
    """Where functions run and flows go."""

    nodes: Nodes
    paths: tuple[list[int], ...]  # arcs by flow, from a to b


def solve(
    residual: Residual,
    request: Request,
    policy: Policy,
    *,
    seed: int = 0,
    budget_s: float = 2.0,
    hint: Placement | None = None,
) -> Placement | Refusal:
    """The best placement found, with a lower bound that holds; a Refusal when there is none (`proved`) or none was
    found. `budget_s` counts CP-SAT's deterministic seconds; `hint` is a placement of the request on this residual."""
    started = perf_counter()
    instance = formulate(residual, request, policy)
    starts = [] if hint is None else [Solution(*read(instance, request, hint))]
    found = beam.search(instance, Guide.of(instance))
    if found is not None:
        starts.append(Solution(tuple(found.nodes.tolist()), tuple(found.paths[flow] for flow in sorted(found.paths))))
    search = improve(instance, starts, seed=seed, budget_s=budget_s)
    if search.best is None:
        proved = math.isinf(search.bound)
        reason = "no placement meets every constraint" if proved else f"none was found within {budget_s:g} s"
        return Refusal(request, reason, proved, SOLVER, (perf_counter() - started) * 1000)
    return finish(
        instance,
        request,
        *search.best,
        lower_bound=search.value if search.closed else search.bound,
        solver=SOLVER,
        started=started,
        explanation=(f"first solution {search.first:g}", f"CP-SAT: {search.rounds} rounds", search.verdict),
    )


def improve(
    instance: Instance,
    starts: Iterable[Solution],
    *,
    seed: int,
    budget_s: float,
    moves: Moves | None = None,
) -> "Search":
    """Steps 1 to 4 from the best of some solutions, of which there may be none."""
    guide = Guide.of(instance)
    search = Search(instance, guide, Costs.of(guide), moves)
    for start in starts:
        search.offer(start)
    search.first = search.value
    search.run(seed, budget_s)
    return search


@dataclass(slots=True)
class Search:
    """The best solution and bound so far."""

    instance: Instance
    guide: Guide
    costs: Costs
    moves: Moves | None
    bound: float = 0.0
    value: float = math.inf
    first: float = math.inf
    best: Solution | None = None
    rounds: int = 0

    @property
    def verdict(self) -> str:
        """How the search ended."""
        return "proved optimal" if self.closed else "budget spent"

    @property
    def closed(self) -> bool:
        """Whether the bound meets the solution."""
        return self.bound >= self.value - CLOSED * max(1.0, abs(self.value))

    def offer(self, solution: Solution) -> None:
        """Keep a solution if it is the best."""
        value = self.instance.value(*solution)
        if value < self.value:
            self.value, self.best = value, solution

    def run(self, seed: int, budget_s: float) -> None:
        """Steps 1 to 4, until the gap is closed or the budget spent."""
        known = marginals(self.instance, self.costs)
        self.bound = known.bound
        left, master = budget_s, None
        if self.best is not None and not self.closed and self.instance.count > PATCH:
            left -= self._polish(known, seed, budget_s / 2)
        if self.closed or math.isinf(self.bound):
            return
        alive = self._alive(known)
        left -= BUILD_SECONDS * self._pairs(alive)
        while not self.closed and left > 0 and not math.isinf(self.bound):
            master = master or self._master(alive)
            left -= self._round(master, seed, left)

    def _pairs(self, alive: Alive) -> int:
        """How many variables for flows between sites a program over these would have."""
        ends = ((self.instance.flows[flow], mask) for flow, mask in alive.between.items())
        return sum(int((mask & alive.single[flow.a][:, None] & alive.single[flow.b]).sum()) for flow, mask in ends)

    def _polish(self, known: Marginals, seed: int, budget_s: float) -> float:
        """Step 2: neighbourhoods of the best placement, until several in a row hold nothing better."""
        random, spent, misses = np.random.default_rng(seed), 0.0, 0
        while spent < budget_s and misses < PATIENCE and not self.closed and self.best is not None:
            before = self.value
            alive = self._patched(known, random)
            master, solver = self._master(alive), _solver(seed, min(PATCH_SECONDS, budget_s - spent))
            status = solver.solve(master.model)
            spent += solver.response_proto.deterministic_time + BUILD_SECONDS * self._pairs(alive)
            if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
                spent += self._route(master.nodes(solver), seed, budget_s - spent).seconds
            misses = 0 if self.value < before * (1 - CLOSED) else misses + 1
        return spent

    def _round(self, master: Master, seed: int, budget_s: float) -> float:
        """Steps 3 and 4, once. The deterministic seconds it took."""
        self.rounds += 1
        spent = 0.0
        for linear, share in ((False, 0.5), (True, 1.0)):  # clauses find and prove faster, linear programs bound better
            solver = _solver(seed, share * (budget_s - spent), linear)
            status = solver.solve(master.model)
            spent += solver.response_proto.deterministic_time + 1e-3
            if status == cp_model.INFEASIBLE:  # nothing better than what is known
                self.bound = self.value
                return spent
            self.bound = max(self.bound, solver.best_objective_bound / master.scale)
            if status != cp_model.UNKNOWN:
                routed = self._route(nodes := master.nodes(solver), seed, budget_s - spent)
                if status == cp_model.OPTIMAL and routed.proved:
                    master.cut(nodes, routed)
                    return spent + routed.seconds
        return budget_s

    def _route(self, nodes: Nodes, seed: int, budget_s: float) -> routing.Routed:
        """Route a solution of the master and offer it."""
        routed = routing.route(self.instance, nodes, seed, budget_s)
        if routed.paths is not None:
            self.offer(Solution(nodes, routed.paths))
        return routed

    def _alive(self, known: Marginals) -> Alive:
        """What may still be in a placement better than the best known."""
        most = self.value * (1 + CLOSED)
        between = {flow: np.isfinite(cost) & (cost <= most) for flow, cost in known.between.items()}
        return Alive(np.isfinite(known.single) & (known.single <= most), between)

    def _patched(self, known: Marginals, random: np.random.Generator) -> Alive:
        """What a patch may choose: few functions move, each to one of the sites best for it or used now."""
        alive, here = self._alive(known), self._here(range(self.instance.count))
        patch = sorted(self._patch(known, random))
        best = known.single.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable") < CHOICES
        allowed = here.copy()
        allowed[patch] = best[patch] | here[patch].any(axis=0)
        return alive._replace(single=alive.single & allowed)

    def _master(self, alive: Alive) -> Master:
        master = Master.of(self.instance, self.guide.hosts, self.costs, alive, self.value)
        if self.moves is not None:
            master.stay(self.moves)
        if self.best is not None:
            master.hint(self.best.nodes)
        master.minimize()
        return master

    def _here(self, functions: Sequence[int]) -> Bools:
        """(len(functions), H) where the best placement, which there is, has them."""
        nodes = self.best.nodes if self.best is not None else ()
        sites = self.instance.topology.node_site[[nodes[function] for function in functions]]
        return np.asarray(self.guide.hosts[None] == sites[:, None])

    def _patch(self, known: Marginals, random: np.random.Generator) -> set[int]:
        """Functions to place anew: one that stands dear, and either functions it exchanges traffic with, or those of a
        few sites that functions it exchanges traffic with, too, stand at or should; among them where it should."""
        here = self._here(range(self.instance.count))
        regret = np.maximum(known.single[here] - known.bound, 0.0) + 1e-6 * max(1.0, self.value)
        first = int(random.choice(len(regret), p=regret / regret.sum()))
        by_site = bool(random.random() < 0.5)
        chosen, ahead = {first}, [first]
        while ahead and len(chosen) < PATCH:
            function = ahead.pop(0)
            if by_site or function == first:
                wanted = here[:, known.single[function].argmin()] | here[:, here[function].argmax()]
                chosen |= set(random.permutation(np.flatnonzero(wanted))[: PATCH // 2].tolist())
            near = random.permutation(sorted(self._near(function) - chosen)).tolist()
            chosen |= set(near)
            ahead += near
        return chosen

    def _near(self, function: int) -> set[int]:
        ends = ((flow.a, flow.b) for flow in self.instance.flows if function in (flow.a, flow.b))
        return {end for pair in ends for end in pair if end != function and end < self.instance.count}


def _solver(seed: int, budget_s: float, linear: bool = False) -> cp_model.CpSolver:
    """CP-SAT with (`linear`) or without linear relaxation. Probing takes longer here than all it saves."""
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.cp_model_probing_level = 0
    solver.parameters.linearization_level = 2 if linear else 0
    solver.parameters.max_deterministic_time = max(0.0, budget_s)
    solver.parameters.max_time_in_seconds = 3 * budget_s + 1  # on a machine so slow, an answer before determinism
    return solver
