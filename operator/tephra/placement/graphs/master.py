"""The master program of :mod:`.exact`: functions on nodes, flows between pairs of sites, integer costs for CP-SAT.

A flow costs its cheapest path with room for it, so that only flows that crowd each other are beyond the program; what
their routes cost more, :mod:`.exact` adds as cuts. On trees its linear relaxation is tight but for capacities.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from ortools.sat.python import cp_model

from tephra.placement.graphs.instance import NONE, Bools, Floats, Instance
from tephra.placement.graphs.marginals import Costs, delays
from tephra.placement.graphs.routing import Routed
from tephra.placement.model import Ints, Scope

CLOSED = 1e-6  # relative gap that counts as none: what scaling to integers and rounding may cost
PRECISION = 1e9  # the best known objective, or the dearest choice without one, in units of the master's
Nodes = tuple[int, ...]  # by function


class Moves(NamedTuple):
    """At most so many functions leave the nodes where they are `at`; NONE for one that runs nowhere yet."""

    at: Nodes
    most: int


class Alive(NamedTuple):
    """What the program may choose: the rest is ruled out."""

    single: Bools  # (F, H) a function at a hosting site
    between: dict[int, Bools]  # flow → (H, H) a flow between two hosting sites


@dataclass(slots=True)
class Master:
    """Step 2: `x` functions on nodes, `at` functions at sites, `pair` flows between hosting sites; integer costs."""

    instance: Instance
    hosts: list[int]
    costs: Costs
    scale: float
    model: cp_model.CpModel = field(default_factory=cp_model.CpModel)
    x: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    at: dict[tuple[int, int], cp_model.IntVar] = field(default_factory=dict)
    pair: dict[tuple[int, int, int], cp_model.IntVar] = field(default_factory=dict)
    cost: list[tuple[int, cp_model.IntVar]] = field(default_factory=list)

    @classmethod
    def of(cls, instance: Instance, hosts: Ints, costs: Costs, alive: Alive, most: float) -> "Master":
        """The program over what is alive; `most` is the objective of the best placement known, inf without one.

        Solutions cost that at most. Call :meth:`stay` and :meth:`hint` next if they apply, then :meth:`minimize`.
        """
        largest = most if math.isfinite(most) else _largest(costs, alive)
        master = cls(instance, hosts.tolist(), costs, PRECISION / max(largest, 1.0))
        master.places(alive.single)
        master.pairs(alive.between)
        master.capacities()
        master.companions()
        master.once()
        master.longest()
        if math.isfinite(most):
            ceiling = math.ceil(most * (1 + CLOSED) * master.scale)
            master.model.add(_sum(weight * var for weight, var in master.cost) <= ceiling)
        return master

    def places(self, alive: Bools) -> None:
        """One node for every function, at a site that is alive."""
        position = {site: host for host, site in enumerate(self.hosts)}
        by_site: dict[tuple[int, int], list[cp_model.IntVar]] = defaultdict(list)
        for function, node in np.argwhere(self.instance.allowed).tolist():
            host = position[int(self.instance.topology.node_site[node])]
            if alive[function, host]:
                self.x[function, node] = self.model.new_bool_var("")
                self.spend(float(self.instance.adds.place[function, node]), self.x[function, node])
                by_site[function, host].append(self.x[function, node])
        for function in range(self.instance.count):
            self.model.add_exactly_one(var for (of, _), var in self.x.items() if of == function)
        base = self.costs.single - _least_place(self.instance, self.hosts)
        for (function, host), here in by_site.items():
            self.at[function, host] = here[0] if len(here) == 1 else self.model.new_bool_var("")
            if len(here) > 1:
                self.model.add(_sum(here) == self.at[function, host])
            self.spend(float(base[function, host]), self.at[function, host])

    def pairs(self, alive: dict[int, Bools]) -> None:
        """Every flow between two functions at one pair of sites, which are those of its ends."""
        for flow, mask in alive.items():
            a, b = self.instance.flows[flow].a, self.instance.flows[flow].b
            leaving: dict[int, list[cp_model.IntVar]] = defaultdict(list)
            arriving: dict[int, list[cp_model.IntVar]] = defaultdict(list)
            for here, there in np.argwhere(mask & self._open(a)[:, None] & self._open(b)).tolist():
                var = self.pair[flow, here, there] = self.model.new_bool_var("")
                self.spend(float(self.costs.between[flow][here, there]), var)
                leaving[here].append(var)
                arriving[there].append(var)
            for end, sides in ((a, leaving), (b, arriving)):
                for (function, host), at in self.at.items():
                    if function == end:
                        self.model.add(_sum(sides[host]) == at)

    def _open(self, function: int) -> Bools:
        """(H,) where the function may be."""
        return np.array([(function, host) in self.at for host in range(len(self.hosts))])

    def capacities(self) -> None:
        """CPU and memory of every node, and their sums over a site, which tell the relaxation more."""
        by_node: dict[int, list[tuple[int, cp_model.IntVar]]] = defaultdict(list)
        for (function, node), var in self.x.items():
            by_node[node].append((function, var))
        by_host: dict[int, list[tuple[int, cp_model.IntVar]]] = defaultdict(list)
        for (function, host), var in self.at.items():
            by_host[host].append((function, var))
        free = self.instance.free
        for node, here in by_node.items():
            self._fits(here, free[node].tolist())
        for host, here in by_host.items():
            self._fits(here, free[self.instance.topology.node_site == self.hosts[host]].sum(axis=0).tolist())

    def _fits(self, here: Sequence[tuple[int, cp_model.IntVar]], free: Sequence[int]) -> None:
        for resource, room in enumerate(free):
            demand = [int(self.instance.demand[function, resource]) for function, _ in here]
            if sum(demand) > room:
                self.model.add(cp_model.LinearExpr.weighted_sum([var for _, var in here], demand) <= room)

    def companions(self) -> None:
        """Isolation among the functions, affinities."""
        for one, two in np.argwhere(np.triu(self.instance.conflict, 1)).tolist():
            for node in range(len(self.instance.topology.nodes)):
                if (one, node) in self.x and (two, node) in self.x:
                    self.model.add_at_most_one(self.x[one, node], self.x[two, node])
        for group in self.instance.groups:
            presence = [self._presence(member, group.scope) for member in group.members]
            for place in sorted(set().union(*presence)):
                here = [at.get(place, 0) for at in presence]
                if group.anti:
                    self.model.add(_sum(here) <= 1)
                for other in () if group.anti else here[1:]:
                    self.model.add(here[0] == other)

    def _presence(self, member: int, scope: Scope) -> dict[int, cp_model.IntVar | int]:
        """Where a member may be, by node or by site."""
        if member >= self.instance.count:
            fixed = self.instance.endpoint_node if scope is Scope.NODE else self.instance.endpoint_site
            return {int(fixed[member - self.instance.count]): 1}
        if scope is Scope.NODE:
            return {node: var for (function, node), var in self.x.items() if function == member}
        return {self.hosts[host]: var for (function, host), var in self.at.items() if function == member}

    def once(self) -> None:
        """What the first function at a site, on a node, with a layer costs."""
        first: dict[tuple[str, int, int], cp_model.IntVar] = {}
        adds, sites = self.instance.adds, self.instance.topology.node_site
        for (function, node), var in self.x.items():
            site = int(sites[node])
            keys = [(("site", site, 0), float(adds.opening[site])), (("node", node, 0), float(adds.wake[node]))]
            for layer in np.flatnonzero(self.instance.fetch[function, node]).tolist():
                keys.append((("layer", node, layer), float(self.instance.layer_cost[layer])))
            for key, weight in keys:
                if weight > 0:
                    if key not in first:
                        first[key] = self.model.new_bool_var("")
                        self.spend(weight, first[key])
                    self.model.add_implication(var, first[key])

    def longest(self) -> None:
        """The sum of the path delays of a chain: at least those of the paths of least delay."""
        for limit in self.instance.limits:
            least = delays(self.instance)
            within = {end for flow in limit.flows for end in self._ends(flow)}
            pairs = ((least.between[flow][a, b], var) for (flow, a, b), var in self.pair.items() if flow in limit.flows)
            alone = ((least.single[key], var) for key, var in self.at.items() if key[0] in within)
            self.model.add(_sum(int(delay) * var for delay, var in (*pairs, *alone)) <= limit.most_us)

    def stay(self, moves: Moves) -> None:
        """The migration budget; and of equal placements, the one that moves least (by less than a gap that counts)."""
        settled = [(function, node) for function, node in enumerate(moves.at) if node != NONE]
        staying = [self.x[place] for place in settled if place in self.x]
        self.model.add(_sum(staying) >= len(settled) - moves.most)
        for stays in staying:
            self.model.add_hint(stays, 1)
            gone = self.model.new_bool_var("")
            self.model.add_bool_or(stays, gone)
            self.cost.append((math.floor(PRECISION * CLOSED / 2 / len(staying)), gone))

    def hint(self, nodes: Nodes) -> None:
        """Where the best known placement has its functions, in place of other hints."""
        self.model.clear_hints()  # type: ignore[no-untyped-call]
        position = {site: host for host, site in enumerate(self.hosts)}
        host = [position[int(self.instance.topology.node_site[node])] for node in nodes]
        for (function, node), var in self.x.items():
            self.model.add_hint(var, nodes[function] == node)
        for (flow, here, there), var in self.pair.items():
            ends = self.instance.flows[flow]
            self.model.add_hint(var, (host[ends.a], host[ends.b]) == (here, there))

    def nodes(self, solver: cp_model.CpSolver) -> Nodes:
        """The node of every function in the master's solution."""
        chosen = dict(key for key, var in self.x.items() if solver.boolean_value(var))
        return tuple(chosen[function] for function in range(self.instance.count))

    def cut(self, nodes: Nodes, routed: Routed) -> None:
        """Functions at these sites cost as much more as their routes do: a term of the objective, or, where no routes
        exist, a clause that forbids them."""
        position = {site: host for host, site in enumerate(self.hosts)}
        host = [position[int(self.instance.topology.node_site[node])] for node in nodes]
        members = sorted({end for flow in routed.crowded for end in self._ends(flow)})
        elsewhere = [~self.at[function, host[function]] for function in members]
        if routed.paths is None:
            self.model.add_bool_or(elsewhere)
        else:
            dearer = self.model.new_bool_var("")
            self.model.add_bool_or([*elsewhere, dearer])
            self.spend(routed.excess, dearer)
            self.minimize()

    def _ends(self, flow: int) -> list[int]:
        ends = self.instance.flows[flow]
        return [end for end in (ends.a, ends.b) if end < self.instance.count]

    def spend(self, weight: float, var: cp_model.IntVar) -> None:
        """A term of the objective, cut down to an integer so that bounds stay bounds."""
        if weight > 0:
            self.cost.append((math.floor(weight * (1 - 1e-9) * self.scale), var))

    def minimize(self) -> None:
        """Set the objective to all terms so far."""
        self.model.minimize(_sum(weight * var for weight, var in self.cost))


def _largest(costs: Costs, alive: Alive) -> float:
    """The dearest single choice alive, which no weight exceeds."""
    between = [costs.between[flow][mask].max(initial=0.0) for flow, mask in alive.between.items()]
    return float(max(costs.single[alive.single].max(initial=0.0), *between, 0.0))


def _least_place(instance: Instance, hosts: Sequence[int]) -> Floats:
    """(F, H) least cost of a node of the site that admits the function; 0 where none does."""
    cost = np.where(instance.allowed, instance.adds.place, np.inf)
    columns = [cost[:, instance.topology.node_site == site].min(axis=1, initial=np.inf) for site in hosts]
    least = np.array(columns).T.reshape(instance.count, len(hosts))
    return np.where(np.isfinite(least), least, 0.0)


def _sum(terms: Iterable[cp_model.LinearExprT]) -> cp_model.LinearExpr:
    """A sum that is an expression even when it is empty."""
    return cp_model.LinearExpr.sum([cp_model.LinearExpr.sum([]), *terms])
