"""Routes for functions that have their nodes: cheapest paths where they have room, CP-SAT where they crowd each other.

The subproblem of :mod:`.exact`. A flow takes one path; a channel and its reverse take the same sites.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from tephra.placement import routes
from tephra.placement.graphs.instance import Floats, Instance

PRECISION = 1e9  # the dearest arc, in units of the program's objective


@dataclass(frozen=True, slots=True)
class Routed:
    """`paths` has the arcs of every flow from a to b, None when there are none or none were found. They cost `excess`
    more than if each flow were alone, because of the flows `crowded`. `proved`: that is least, or there are none."""

    paths: tuple[list[int], ...] | None
    excess: float
    crowded: tuple[int, ...]
    proved: bool
    seconds: float = 0.0  # deterministic


def route(instance: Instance, nodes: Sequence[int], seed: int, budget_s: float) -> Routed:
    """The cheapest routes; `budget_s` in CP-SAT's deterministic seconds.

    Flows that do not crowd each other keep their cheapest path; the program holds the others, and grows by those that
    its solution crowds, until nothing is crowded. What it finds then is least, for it ignored a constraint or none.
    """
    alone = _alone(instance, nodes)
    paths = {flow: path for flow, path in enumerate(alone) if path is not None}
    lost = tuple(flow for flow, path in enumerate(alone) if path is None)
    if lost:
        return Routed(None, 0.0, lost, True)
    apart, within, excess, spent, proved = dict(paths), set[int](), 0.0, 0.0, True
    while new := _crowded(instance, paths) - within:
        within |= new
        program = _Program.of(instance, nodes, sorted(within))
        solver, status = _solved(program.model, seed, budget_s - spent)
        spent += solver.response_proto.deterministic_time
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return Routed(None, 0.0, tuple(sorted(within)), status == cp_model.INFEASIBLE, spent)
        least = sum(instance.path_cost(instance.flows[flow], apart[flow]) for flow in within)
        excess = max(0.0, solver.best_objective_bound / program.scale - least)
        proved = proved and status == cp_model.OPTIMAL
        paths |= program.paths(solver)
    return Routed(tuple(paths[flow] for flow in range(len(paths))), excess, tuple(sorted(within)), proved, spent)


def _alone(instance: Instance, nodes: Sequence[int]) -> list[list[int] | None]:
    """The cheapest path of every flow by itself, None where there is none with room."""
    if not instance.flows:
        return []
    out, back = np.array([(flow.out, flow.back) for flow in instance.flows]).T
    weights = instance.weights(out, back, np.broadcast_to(instance.pool_free, (len(out), len(instance.pool_free))))
    sources = np.array([instance.site_of(flow.a, nodes) for flow in instance.flows])
    found = routes.distances(instance.topology, sources, weights)
    targets = [instance.site_of(flow.b, nodes) for flow in instance.flows]
    return [routes.path_back(instance.topology, *row) for row in zip(found, weights, targets, strict=True)]


def _crowded(instance: Instance, paths: dict[int, list[int]]) -> set[int]:
    """The flows on links that are given more than they have; and those of a limit on their delay that does not hold."""
    slow = {flow for limit in instance.limits if instance.delay(paths, limit) > limit.most_us for flow in limit.flows}
    used = {flow: instance.used(path, instance.flows[flow]) for flow, path in paths.items()}
    over = sum(used.values(), np.zeros_like(instance.pool_free)) > instance.pool_free
    return slow | {flow for flow, taken in used.items() if (taken[over] > 0).any()}


def _solved(model: cp_model.CpModel, seed: int, budget_s: float) -> tuple[cp_model.CpSolver, cp_model.CpSolverStatus]:
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = max(0.0, budget_s)
    return solver, solver.solve(model)


@dataclass(slots=True)
class _Program:
    """Unsplittable flows between given sites: eq. 9, 10, 12 of :mod:`.ilp` without the choice of hosts."""

    instance: Instance
    ends: dict[int, tuple[int, int]]  # flow → sites
    taken: dict[tuple[int, int], cp_model.IntVar]  # (flow, arc)
    model: cp_model.CpModel
    scale: float

    @classmethod
    def of(cls, instance: Instance, nodes: Sequence[int], flows: Sequence[int]) -> "_Program":
        ends = {
            flow: (instance.site_of(instance.flows[flow].a, nodes), instance.site_of(instance.flows[flow].b, nodes))
            for flow in flows
        }
        program = cls(instance, ends, {}, cp_model.CpModel(), 1.0)
        weights = {flow: program._arcs(flow) for flow in flows}
        largest = max((float(row[np.isfinite(row)].max(initial=0.0)) for row in weights.values()), default=0.0)
        program.scale = PRECISION / max(largest, 1e-9)
        for flow in flows:
            program._conserve(flow)
        program._share()
        program._hurry()
        cost = [
            math.floor(float(weights[flow][arc]) * program.scale) * var for (flow, arc), var in program.taken.items()
        ]
        program.model.minimize(cp_model.LinearExpr.sum(cost))
        return program

    def paths(self, solver: cp_model.CpSolver) -> dict[int, list[int]]:
        """The arcs of every flow in order; cycles off the path are not met."""
        step: dict[int, dict[int, int]] = defaultdict(dict)
        for (flow, arc), var in self.taken.items():
            if solver.boolean_value(var):
                step[flow][int(self.instance.topology.arc_source[arc])] = arc
        found = dict[int, list[int]]()
        for flow, (source, target) in self.ends.items():
            found[flow], site = [], source
            while site != target:
                found[flow].append(step[flow][site])
                site = int(self.instance.topology.arc_target[found[flow][-1]])
        return found

    def _arcs(self, flow: int) -> Floats:
        """A variable for every arc with room for the flow; the weights of all."""
        asked = self.instance.flows[flow]
        load = (np.array([asked.out]), np.array([asked.back]))
        weights = self.instance.weights(*load, self.instance.pool_free[None])[0]
        for arc in np.flatnonzero(np.isfinite(weights)).tolist():
            self.taken[flow, arc] = self.model.new_bool_var("")
        return np.asarray(weights)

    def _conserve(self, flow: int) -> None:
        """One path: at every site as much goes in as out, at most one, the ends apart."""
        topology, (source, target) = self.instance.topology, self.ends[flow]
        into: dict[int, list[cp_model.IntVar]] = defaultdict(list)
        out: dict[int, list[cp_model.IntVar]] = defaultdict(list)
        for (of, arc), var in self.taken.items():
            if of == flow:
                out[int(topology.arc_source[arc])].append(var)
                into[int(topology.arc_target[arc])].append(var)
        for site in into.keys() | out.keys() | {source, target}:
            arriving = cp_model.LinearExpr.sum([*into[site], int(site == source)])
            self.model.add(arriving == cp_model.LinearExpr.sum([*out[site], int(site == target)]))
            self.model.add(arriving <= 1)

    def _share(self) -> None:
        """What all flows take of every pool."""
        drawn: dict[int, list[cp_model.LinearExprT]] = defaultdict(list)
        for (flow, arc), var in self.taken.items():
            taken = self.instance.used([arc], self.instance.flows[flow])
            for pool in np.flatnonzero(taken).tolist():
                drawn[pool].append(int(taken[pool]) * var)
        for pool, terms in drawn.items():
            self.model.add(cp_model.LinearExpr.sum(terms) <= int(self.instance.pool_free[pool]))

    def _hurry(self) -> None:
        """Limits on the sum of delays; each only when all of its flows are here."""
        for limit in self.instance.limits:
            if limit.flows <= self.ends.keys():
                terms = [
                    self.instance.path_delay(self.instance.flows[flow], [arc]) * var
                    for (flow, arc), var in self.taken.items()
                    if flow in limit.flows
                ]
                self.model.add(cp_model.LinearExpr.sum(terms) <= limit.most_us)
