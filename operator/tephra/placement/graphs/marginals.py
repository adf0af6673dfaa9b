"""What a request costs at least, and at least with one function at a given site: bounds by dynamic programming.

Without capacities, and with every flow on its own cheapest path, placing a tree of functions is a dynamic program over
the tree; messages up and down it (min-sum, the Viterbi recursion in both directions) give the least cost of the whole
with one function at one site, or one flow between two sites. These *min-marginals* bound every true placement, so what
exceeds a known solution is out, before :mod:`.exact` builds its model. In a graph that is no tree, the flows outside a
spanning forest count what they cost at least on their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tephra.placement import routes
from tephra.placement.graphs.guide import Guide
from tephra.placement.graphs.instance import NONE, Floats, Instance

ROUNDING = 1e-7  # relative: more than what routes add per hop, and than sums of floats lose


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """The relaxed problem: H hosting sites, F functions; `between` by the number of the flow, for those between two."""

    single: Floats  # (F, H) a function at a site: least node cost and its flows with endpoints
    between: dict[int, Floats]  # flow → (H, H) its cheapest path from the site of a to the site of b

    @classmethod
    def of(cls, guide: Guide) -> "Costs":
        """Costs on what is free; inf where a function may not run, a flow has no path, two may not share a site."""
        instance, known, between = guide.instance, dict[bytes, Floats](), dict[int, Floats]()
        for number, flow in enumerate(instance.flows):
            if max(flow.a, flow.b) < instance.count:
                load = (np.array([flow.out]), np.array([flow.back]))
                weights = instance.weights(*load, instance.pool_free[None])
                key = weights.tobytes()
                if key not in known:
                    rows = np.broadcast_to(weights[0], (len(guide.hosts), weights.shape[1]))
                    known[key] = routes.distances(instance.topology, guide.hosts, rows)[:, guide.hosts]
                apart = np.inf if guide.apart[flow.a, flow.b] else 0.0
                between[number] = known[key] + np.diag(np.full(len(guide.hosts), apart)) if apart else known[key]
        return cls(guide.start(), between)


def delays(instance: Instance) -> Costs:
    """The same with microseconds for costs."""
    adds = instance.adds
    zero = {name: np.zeros_like(getattr(adds, name)) for name in ("place", "wake", "opening", "kbps")}
    counted = replace(adds, delay=instance.topology.arc_delay.astype(float), **zero)
    return Costs.of(Guide.of(replace(instance, adds=counted)))


@dataclass(frozen=True, slots=True, eq=False)
class Marginals:
    """Lower bounds on the objective of every placement: of any, and given where a function or flow is."""

    bound: float
    single: Floats  # (F, H)
    between: dict[int, Floats]  # flow → (H, H)


def marginals(instance: Instance, costs: Costs) -> Marginals:
    """The bounds; inf where there is no placement at all."""
    forest = _Forest.of(instance, costs)
    up, down = forest.messages(instance, costs)
    belief = costs.single + up + down
    least = np.array([belief[root].min(initial=np.inf) for root in forest.roots])
    loose = {flow: float(costs.between[flow].min(initial=np.inf)) for flow in costs.between if flow not in forest.flows}
    bound = float(least.sum() + sum(loose.values()))
    if not np.isfinite(bound):
        return Marginals(np.inf, np.full_like(belief, np.inf), {})
    rest = bound - np.array([least[tree] for tree in forest.tree])  # without the function's own tree
    single = belief + rest[:, None]
    between = dict[int, Floats]()
    for flow, cost in costs.between.items():
        a, b = instance.flows[flow].a, instance.flows[flow].b
        if flow in loose:
            between[flow] = np.maximum(single[a][:, None], single[b][None]) - loose[flow] + cost
        else:
            ends = [belief[end] - forest.heard(flow, end) for end in (a, b)]
            between[flow] = ends[0][:, None] + cost + ends[1][None] + rest[a]
    return Marginals(
        bound * (1 - ROUNDING), single * (1 - ROUNDING), {key: it * (1 - ROUNDING) for key, it in between.items()}
    )


@dataclass(slots=True, eq=False)
class _Forest:
    """A spanning forest of the functions, heaviest flows first (Kruskal), hung up at one root per tree."""

    flows: dict[int, tuple[int, int]]  # flow → (parent, child)
    order: list[int]  # functions, parents before children
    parent_flow: dict[int, int]  # child → flow
    roots: list[int]
    tree: list[int]  # function → number of its tree
    inbox: dict[tuple[int, int], Floats]  # (flow, receiver) → message (H,)

    @classmethod
    def of(cls, instance: Instance, costs: Costs) -> "_Forest":
        joined = list(range(instance.count))
        chosen = list[int]()
        for flow in sorted(costs.between, key=lambda number: -_traffic(instance, number)):
            a, b = joined[instance.flows[flow].a], joined[instance.flows[flow].b]
            if a != b:
                chosen.append(flow)
                joined = [a if root == b else root for root in joined]
        return cls._hung(instance, chosen)

    @classmethod
    def _hung(cls, instance: Instance, chosen: Sequence[int]) -> "_Forest":
        near: dict[int, list[int]] = {function: [] for function in range(instance.count)}
        for flow in chosen:
            near[instance.flows[flow].a].append(flow)
            near[instance.flows[flow].b].append(flow)
        forest = cls({}, [], {}, [], [NONE] * instance.count, {})
        for root in range(instance.count):
            if forest.tree[root] == NONE:
                forest._hang(instance, near, root)
        return forest

    def _hang(self, instance: Instance, near: dict[int, list[int]], root: int) -> None:
        """Reach everything from the root, parents first."""
        self.roots.append(root)
        self.tree[root] = len(self.roots) - 1
        ahead = [root]
        for function in ahead:
            self.order.append(function)
            for flow in near[function]:
                ends = instance.flows[flow]
                other = ends.b if ends.a == function else ends.a
                if self.tree[other] == NONE:
                    self.tree[other] = self.tree[root]
                    self.flows[flow] = (function, other)
                    self.parent_flow[other] = flow
                    ahead.append(other)

    def messages(self, instance: Instance, costs: Costs) -> tuple[Floats, Floats]:
        """(F, H) what the children, and (F, H) what the parent, of each function say a site costs them at least."""
        up, down = np.zeros_like(costs.single), np.zeros_like(costs.single)
        for child in reversed(self.order):
            if child in self.parent_flow:
                flow = self.parent_flow[child]
                parent = self.flows[flow][0]
                cost = _seen_from(instance, costs, flow, parent)
                self.inbox[flow, parent] = (cost + (costs.single[child] + up[child])[None]).min(axis=1, initial=np.inf)
                up[parent] += self.inbox[flow, parent]
        for child in self.order:
            if child in self.parent_flow:
                flow = self.parent_flow[child]
                parent = self.flows[flow][0]
                others = costs.single[parent] + down[parent] + up[parent]
                others = others - np.where(np.isfinite(others), self.inbox[flow, parent], 0.0)
                cost = _seen_from(instance, costs, flow, child)
                self.inbox[flow, child] = down[child] = (cost + others[None]).min(axis=1, initial=np.inf)
        return up, down

    def heard(self, flow: int, end: int) -> Floats:
        """(H,) what one end of a flow of the forest heard through it; 0 where that is inf, as is the sum then."""
        message = self.inbox[flow, end]
        return np.where(np.isfinite(message), message, 0.0)


def _seen_from(instance: Instance, costs: Costs, flow: int, end: int) -> Floats:
    """(H, H) the cost of a flow by the site of `end`, then by that of the other."""
    return costs.between[flow] if instance.flows[flow].a == end else costs.between[flow].T


def _traffic(instance: Instance, number: int) -> int:
    flow = instance.flows[number]
    return max(flow.out, 0) + max(flow.back, 0)
