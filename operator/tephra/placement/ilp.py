"""The papers' integer program, by CP-SAT: the oracle of the tests, and a solver that can be asked for by name.

Source: the paper on the INPUT fog computing architecture (OpenVolcano), section V.B, equations 1 to 12, on any shape of
request. Hosts H are the nodes (servers); links join sites, and x summed over the nodes of a site is its presence there.
Each repair to the printed program is marked where it stands:

(a) x = 0 where the anchor is farther than the function's maximum delay: the paper makes proximity the service level
    but constrains it nowhere;
(b) min{1, .} of eq. 2 becomes a variable y >= x;
(c) objectives 1 and 2 are weighted in one; what is left of a channel's cycles off its path (legal where delay costs
    nothing) is dropped when the path is traced;
(d) watts, image pulls and bid prices are terms of their own beside eq. 2, which prices an idle share and no energy;
(e) a pool says which directions of a link share capacity in eq. 12;
(f) headroom is taken off the right sides of eq. 7 and 12, and moves cost disruption.
"""

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from ortools.sat.python import cp_model

from tephra.placement.model import Affinity, Channel, Placement, Policy, Refusal, Request, Scope, Topology
from tephra.placement.network import anchor_delay
from tephra.placement.objective import Floats, terms, total
from tephra.placement.residual import Residual, arcs_of, may_share

SOLVER = "ilp"
Expression = cp_model.LinearExprT


def solve(
    residual: Residual,
    request: Request,
    policy: Policy,
    *,
    seed: int = 0,
    budget_s: float = 60.0,
    hint: Placement | None = None,
) -> Placement | Refusal:
    """The best placement within the budget, its lower bound proved by CP-SAT; a Refusal when there is none (`proved`)
    or none was found. One worker and a deterministic clock make the answer the same for the same seed."""
    began = time.perf_counter()
    program = _Program.of(residual, request, policy)
    if hint is not None:
        program.hint(hint)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    solver.parameters.max_deterministic_time = budget_s
    solver.parameters.max_time_in_seconds = 2 * budget_s  # a machine so slow gives up determinism, not its caller
    status = solver.solve(program.model)
    spent = (time.perf_counter() - began) * 1000
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        proved = status == cp_model.INFEASIBLE
        reason = "no placement meets every constraint" if proved else f"none was found within {budget_s:g} s"
        return Refusal(request, reason, proved, SOLVER, spent)
    return program.placement(solver, spent, "proved optimal" if status == cp_model.OPTIMAL else "budget spent")


@dataclass(frozen=True, slots=True)
class _Program:
    """The CP-SAT model. `x` (function, node) and `p` (channel, arc) hold variables where they may be 1 (eq. 3, 8)."""

    residual: Residual
    request: Request
    policy: Policy
    model: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    x: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    p: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    cost: list[tuple[float, Expression]] = field(default_factory=list)

    @classmethod
    def of(cls, residual: Residual, request: Request, policy: Policy) -> "_Program":
        """The program with all of its constraints and the objective."""
        program = cls(residual, request, policy)
        usable = residual.with_headroom(policy)  # repair (f)
        program.hosts(usable)
        program.capacities(usable)
        program.isolation()
        for affinity in request.affinities:
            program.affinity(affinity)
        program.routes(usable)
        program.mirrors()
        program.bandwidth(usable)
        program.objective()
        return program

    @property
    def topology(self) -> Topology:
        """The network below."""
        return self.residual.topology

    # constraints

    def hosts(self, usable: Residual) -> None:
        """Eq. 3, 4; endpoints are no functions, so that eq. 5 is data and eq. 6 holds by construction."""
        anchor = [endpoint.site for endpoint in self.request.endpoints if endpoint.name == self.request.anchor]
        delay = anchor_delay(self.topology, self.topology.site_index[anchor[0]]) if anchor else np.empty(0)
        for number, function in enumerate(self.request.functions):
            for node in range(len(self.topology.nodes)):
                bound = function.max_delay_us
                near = bound is None or delay[self.topology.node_site[node]] <= bound  # repair (a)
                if near and usable.admits(node, function, self.request.tenant):
                    self.x[number, node] = self.model.new_bool_var("")
            self.model.add_exactly_one(self._row(number).values())

    def capacities(self, usable: Residual) -> None:
        """Eq. 7."""
        for node in range(len(self.topology.nodes)):
            here = [(self.request.functions[number], x) for (number, at), x in self.x.items() if at == node]
            for demands, free in zip(
                ([f.cpu_m for f, _ in here], [f.memory_mib for f, _ in here]), usable.node_free[node], strict=True
            ):
                self.model.add(cp_model.LinearExpr.weighted_sum([x for _, x in here], demands) <= int(free))

    def isolation(self) -> None:
        """Functions of the request that may not share a node."""
        tenant = self.request.tenant
        for (one, first), (two, second) in combinations(enumerate(self.request.functions), 2):
            if may_share(first, tenant, second, tenant):
                continue
            for node in self._row(one).keys() & self._row(two).keys():
                self.model.add_at_most_one(self.x[one, node], self.x[two, node])

    def affinity(self, affinity: Affinity) -> None:
        """Members at one place, or no two of them at one."""
        presence = [self._presence(member, affinity.scope) for member in sorted(affinity.members)]
        for place in sorted({place for here in presence for place in here}):
            at = [here.get(place, 0) for here in presence]
            if affinity.anti:
                self.model.add(_sum(at) <= 1)
            for other in () if affinity.anti else at[1:]:
                self.model.add(at[0] == other)

    def routes(self, usable: Residual) -> None:
        """Eq. 8, 9, 10 for every channel, on the arcs with room for it."""
        for number, channel in enumerate(self.request.channels):
            for arc in np.flatnonzero(usable.pool_free[self.topology.arc_pool] >= channel.bandwidth_kbps).tolist():
                self.p[number, arc] = self.model.new_bool_var("")
            source, target = (self._presence(end, Scope.SITE) for end in (channel.source, channel.target))
            into, out = self._flow(number)
            for site in range(len(self.topology.sites)):
                arriving = _sum([*into[site], source.get(site, 0)])
                leaving = _sum([*out[site], target.get(site, 0)])
                self.model.add(arriving == leaving)
                self.model.add(arriving <= 1)
        if self.request.max_path_us is not None:
            taken = [(var, int(self.topology.arc_delay[arc])) for (_, arc), var in self.p.items()]
            self.model.add(_sum(delay * var for var, delay in taken) <= self.request.max_path_us)

    def mirrors(self) -> None:
        """Eq. 11: a channel and its reverse take the same links."""
        numbers = {(channel.source, channel.target): number for number, channel in enumerate(self.request.channels)}
        for (source, target), there in numbers.items():
            back = numbers.get((target, source))
            if back is None or back < there:
                continue
            for (a, b), arc in self.topology.arc_index.items():
                opposite = self.topology.arc_index.get((b, a), -1)
                self.model.add(self.p.get((there, arc), 0) == self.p.get((back, opposite), 0))

    def bandwidth(self, usable: Residual) -> None:
        """Eq. 12 per pool, repair (e)."""
        drawn: dict[int, list[Expression]] = defaultdict(list)
        for (number, arc), var in self.p.items():
            drawn[int(self.topology.arc_pool[arc])].append(self.request.channels[number].bandwidth_kbps * var)
        for pool, demands in drawn.items():
            self.model.add(_sum(demands) <= int(usable.pool_free[pool]))

    # objective

    def objective(self) -> None:
        """Eq. 1 and 2 weighted in one, and what the paper leaves out (repairs b, c, d)."""
        adds = terms(self.residual, self.request, self.policy)
        for (number, arc), var in self.p.items():
            weight = adds.delay[arc] + self.request.channels[number].bandwidth_kbps * adds.kbps[arc]
            self.cost.append((float(weight), var))
        for (number, node), var in self.x.items():
            self.cost.append((float(adds.place[number, node]), var))
        sites = [int(self.topology.node_site[node]) for _, node in self.x]
        self._once(adds.opening, sites)
        self._once(adds.wake, [node for _, node in self.x])
        if self.policy.pull:
            self._pulls()
        scale = _scale(weight for weight, _ in self.cost)
        self.model.minimize(_sum(math.floor(weight * scale) * var for weight, var in self.cost if weight > 0))

    def _once(self, weights: Floats, places: Sequence[int]) -> None:
        """Repair (b): y >= x for each x at a place whose first use costs something."""
        opened: dict[int, cp_model.IntVar] = {}
        for place, x in zip(places, self.x.values(), strict=True):
            if weights[place] > 0:
                if place not in opened:
                    opened[place] = self.model.new_bool_var("")
                    self.cost.append((float(weights[place]), opened[place]))
                self.model.add_implication(x, opened[place])

    def _pulls(self) -> None:
        """A variable per node and layer that it would have to fetch."""
        fetched: dict[tuple[int, str], cp_model.IntVar] = {}
        for (number, node), x in self.x.items():
            image = self.request.functions[number].image
            for layer in image.layers if image else ():
                alone = self.residual.missing_mib(node, (replace(image, layers=(layer,)),)) if image else 0
                if not alone:
                    continue
                if (node, layer.digest) not in fetched:
                    fetched[node, layer.digest] = self.model.new_bool_var("")
                    self.cost.append((self.policy.pull * alone, fetched[node, layer.digest]))
                self.model.add_implication(x, fetched[node, layer.digest])

    # reading and writing solutions

    def hint(self, placement: Placement) -> None:
        """Start the search from a placement of the same request."""
        at = [self.topology.node_index[placement.assignment[f.name]] for f in self.request.functions]
        arcs = [set(arcs_of(self.topology, placement.paths[c.source, c.target])) for c in self.request.channels]
        for (number, node), x in self.x.items():
            self.model.add_hint(x, at[number] == node)
        for (number, arc), p in self.p.items():
            self.model.add_hint(p, arc in arcs[number])

    def placement(self, solver: cp_model.CpSolver, milliseconds: float, note: str) -> Placement:
        """What CP-SAT found, with the objective summed anew and the bound in the objective's own unit."""
        functions, nodes = self.request.functions, self.topology.nodes
        assignment = {functions[f].name: nodes[node].name for (f, node), x in self.x.items() if solver.value(x)}
        paths = {
            (channel.source, channel.target): self._trace(number, channel, assignment, solver)
            for number, channel in enumerate(self.request.channels)
        }
        value = total(self.residual, self.request, self.policy, assignment, paths)
        bound = max(0.0, solver.best_objective_bound) / _scale(weight for weight, _ in self.cost)
        return Placement(
            self.request, assignment, paths, value, min(bound, value), SOLVER, milliseconds, (f"CP-SAT: {note}",)
        )

    def _trace(
        self, number: int, channel: Channel, assignment: Mapping[str, str], solver: cp_model.CpSolver
    ) -> tuple[str, ...]:
        """The path of a channel from its source on; cycles off it are not met (repair c)."""
        site_of = {endpoint.name: endpoint.site for endpoint in self.request.endpoints}
        site_of |= {name: self.topology.site_of(node) for name, node in assignment.items()}
        taken = [arc for (of, arc), var in self.p.items() if of == number and solver.value(var)]
        step = {int(self.topology.arc_source[arc]): int(self.topology.arc_target[arc]) for arc in taken}
        at = [self.topology.site_index[site_of[channel.source]]]
        while self.topology.sites[at[-1]].name != site_of[channel.target]:
            at.append(step[at[-1]])
        return tuple(self.topology.sites[site].name for site in at)

    def _row(self, function: int) -> dict[int, cp_model.IntVar]:
        return {node: x for (number, node), x in self.x.items() if number == function}

    def _flow(self, channel: int) -> tuple[dict[int, list[Expression]], dict[int, list[Expression]]]:
        """By site, the variables of the channel on arcs into it and out of it."""
        into: dict[int, list[Expression]] = defaultdict(list)
        out: dict[int, list[Expression]] = defaultdict(list)
        for arc in range(len(self.topology.arc_source)):
            if (channel, arc) in self.p:
                into[int(self.topology.arc_target[arc])].append(self.p[channel, arc])
                out[int(self.topology.arc_source[arc])].append(self.p[channel, arc])
        return into, out

    def _presence(self, member: str, scope: Scope) -> dict[int, Expression]:
        """Where a function or endpoint is, by index of the node or site: 0/1 expressions, none where it cannot be."""
        for endpoint in self.request.endpoints:
            if endpoint.name == member:
                index = self.topology.node_index if scope is Scope.NODE else self.topology.site_index
                return {index[endpoint.node if scope is Scope.NODE else endpoint.site]: 1}
        number = [function.name for function in self.request.functions].index(member)
        places: dict[int, list[Expression]] = defaultdict(list)
        for node, x in self._row(number).items():
            places[node if scope is Scope.NODE else int(self.topology.node_site[node])].append(x)
        return {place: _sum(here) for place, here in places.items()}


def _sum(terms: Iterable[Expression]) -> cp_model.LinearExpr:
    """A sum that is an expression even when it is empty."""
    return cp_model.LinearExpr.sum([cp_model.LinearExpr.sum([]), *terms])


def _scale(weights: Iterable[float]) -> int:
    """By what weights are multiplied before they are cut to integers. Cutting down keeps bounds valid."""
    return 1 if all(float(weight).is_integer() for weight in weights) else 10_000
