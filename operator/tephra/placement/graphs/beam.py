"""Beam search over partial maps, for requests of any shape: the best few partial maps grow one function at a time.

Every partial map carries what it leaves free, so each channel is routed on what is really there when its second end is
placed. Maps are ranked by their cost and a guess of what the rest will cost at least: every function not yet placed
sits where its channels to the placed ones are cheapest. Functions are placed in the order of their traffic with those
already placed. At the end each function may move once more, the others staying (a greedy descent).

Deterministic. Reads :mod:`.instance`, searches with :mod:`.routes`; :mod:`.solve` uses it for general graphs and
:mod:`.exact` as its first solution.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import NamedTuple

import numpy as np

from tephra.placement import routes
from tephra.placement.graphs.formulate import formulate
from tephra.placement.graphs.guide import Guide, lower_bound
from tephra.placement.graphs.instance import NONE, Bools, Floats, Flow, Instance, finish
from tephra.placement.model import Ints, Placement, Policy, Request, Scope
from tephra.placement.residual import Residual

WIDTH = 8  # partial maps kept
STARTS = 4  # times as many at the first function, when nothing ties it to a place
SHARE = 4  # at most one in so many of them starts at the same site: the beam stays broad
DESCENTS = 2  # rounds of single moves at the end


def place(residual: Residual, request: Request, policy: Policy, *, width: int = WIDTH) -> Placement | None:
    """The best placement the search finds, or None: which proves nothing. `width` partial maps are kept."""
    started = perf_counter()
    instance = formulate(residual, request, policy)
    guide = Guide.of(instance)
    found = search(instance, guide, width)
    if found is None:
        return None
    return finish(
        instance,
        request,
        found.nodes.tolist(),
        [found.paths[number] for number in range(len(instance.flows))],
        lower_bound=lower_bound(guide),
        solver="beam",
        started=started,
        explanation=(f"beam search over partial maps, {width} wide",),
    )


@dataclass(slots=True)
class PartialMap:
    """Some functions placed and the flows between them routed."""

    nodes: Ints  # (F,) NONE where not placed
    free: Ints  # (N, 2)
    pool_free: Ints  # (P,)
    attach: Floats  # (F, H) guess: cost of the flows with placed members, by hosting site (see Guide)
    cost: float = 0.0
    guess: float = 0.0
    root: int = NONE  # where the first function is, as an index of the guide's hosts
    paths: dict[int, list[int]] = field(default_factory=dict)  # flow → arcs from a to b

    @classmethod
    def empty(cls, instance: Instance, guide: Guide) -> "PartialMap":
        """Nothing placed but the endpoints."""
        nodes = np.full(instance.count, NONE, dtype=np.int64)
        return cls(nodes, instance.free.copy(), instance.pool_free.copy(), guide.start())

    def copy(self) -> "PartialMap":
        """A map to change without touching this one."""
        return replace(
            self,
            nodes=self.nodes.copy(),
            free=self.free.copy(),
            pool_free=self.pool_free.copy(),
            attach=self.attach.copy(),
            paths=dict(self.paths),
        )


def search(instance: Instance, guide: Guide, width: int = WIDTH) -> PartialMap | None:
    """The best complete map found, or None. If the functions in order of traffic find no room, those go first that have
    the least: they do not come back for what others took."""
    best = _complete(instance, guide, width, _order(instance))
    if best is None:
        best = _complete(instance, guide, width, _scarce(instance))
    if best is None:
        return None
    for _ in range(DESCENTS):
        best, before = _descend(instance, guide, best), best.cost
        if best.cost >= before:
            break
    return best


def _complete(instance: Instance, guide: Guide, width: int, order: Sequence[int]) -> PartialMap | None:
    maps = [PartialMap.empty(instance, guide)]
    for function in order:
        maps = _grow(instance, guide, maps, function, width)
        if not maps:
            return None
    return min(maps, key=lambda found: found.cost)


def _scarce(instance: Instance) -> list[int]:
    """Functions by the number of nodes open to them; equals in order of traffic, large before small among these."""
    rank = {function: number for number, function in enumerate(_order(instance))}
    open_to = instance.allowed.sum(axis=1)
    return sorted(range(instance.count), key=lambda function: (open_to[function], rank[function]))


def _order(instance: Instance) -> list[int]:
    """Functions by their traffic with those placed before (endpoints are), then by their traffic in all."""
    count = instance.count
    traffic = np.zeros((count + len(instance.endpoint_site),) * 2)
    for flow in instance.flows:
        traffic[[flow.a, flow.b], [flow.b, flow.a]] = 1 + max(flow.out, 0) + max(flow.back, 0)
    inner, left, order = traffic[:count, :count].sum(axis=1), set(range(count)), list[int]()
    near = traffic[:count, count:].sum(axis=1)
    while left:
        following = max(left, key=lambda function: (near[function], inner[function], -function))
        order.append(following)
        left.remove(following)
        near = near + traffic[:count, following]
    return order


def _grow(instance: Instance, guide: Guide, maps: Sequence[PartialMap], function: int, width: int) -> list[PartialMap]:
    """The best maps with one function more, of those that grow out of `maps`."""
    fronts = [_Front.of(instance, partial, function) for partial in maps]
    ways = _ways(instance, fronts, function)
    guess = _guess(guide, maps, function)
    known = [
        front.partial.cost + front.cost + way.distances.sum(axis=0) for front, way in zip(fronts, ways, strict=True)
    ]
    rank = np.array(known)[:, guide.hosts] + guess
    free_start = not any(front.flows for front in fronts)
    limit, per_root = (width * STARTS, width) if free_start else (width, max(1, width // SHARE))
    grown, taken = list[PartialMap](), Counter[int]()
    for number, host in _best(rank, guide.richness):
        root = maps[number].root if maps[number].root != NONE else host
        if taken[root] < per_root:
            following = _placed(instance, guide, fronts[number], ways[number], function, host)
            if following is not None:
                following.root, following.guess = root, float(guess[number, host])
                taken[root] += 1
                grown.append(following)
        if len(grown) == limit:
            break
    return sorted(grown, key=lambda partial: partial.cost + partial.guess)


def _guess(guide: Guide, maps: Sequence[PartialMap], function: int) -> Floats:
    """(maps, H) what the functions left will cost at least or so, by the site of `function`."""
    left = np.flatnonzero(maps[0].nodes == NONE).tolist()
    attach = np.array([partial.attach for partial in maps])
    return guide.rest(function, attach, [other for other in left if other != function])


def _best(rank: Floats, richness: Floats) -> Iterator[tuple[int, int]]:
    """Indices of the finite entries of `rank` (maps, hosts), least first; among equals the site with most left."""
    tie = np.broadcast_to(-richness, rank.shape).ravel()
    for flat in np.lexsort((tie, rank.ravel())):
        at = np.unravel_index(flat, rank.shape)
        if not np.isfinite(rank[at]):
            return
        yield int(at[0]), int(at[1])


class _Ways(NamedTuple):
    """From the placed ends of a front's flows, one row each: least weights to every site, and the weights."""

    distances: Floats  # (flows, S)
    weights: Floats  # (flows, A)


@dataclass(slots=True)
class _Front:
    """Where one function may go next to a partial map: per site the best node and what it adds, paths apart."""

    partial: PartialMap
    node: Ints  # (S,)
    cost: Floats  # (S,) inf where none fits
    flows: list[int]  # those whose other member is placed, most traffic first

    @classmethod
    def of(cls, instance: Instance, partial: PartialMap, function: int) -> "_Front":
        """Nodes that every constraint admits; of equal cost the one the function fills best."""
        added = np.where(_open(instance, partial, function), _added(instance, partial, function), np.inf)
        slack = (partial.free - instance.demand[function]).sum(axis=1)
        at = instance.topology.node_site  # in order: sites with one node each leave no choice
        order = np.arange(len(at)) if (np.diff(at) > 0).all() else np.lexsort((slack, added, at))
        sites, first = np.unique(at[order], return_index=True)
        node, cost = np.full(len(instance.topology.sites), NONE), np.full(len(instance.topology.sites), np.inf)
        node[sites] = order[first]
        cost[sites] = added[order[first]]
        flows = [
            number for number, flow in enumerate(instance.flows) if _other(instance, partial, flow, function) != NONE
        ]
        flows.sort(key=lambda number: -max(instance.flows[number].out, 0) - max(instance.flows[number].back, 0))
        return cls(partial, node, cost, flows)


def _other(instance: Instance, partial: PartialMap, flow: Flow, function: int) -> int:
    """The site of the other member of a flow of the function, NONE if it is not placed or not the function's flow."""
    if function not in (flow.a, flow.b):
        return NONE
    other = flow.b if flow.a == function else flow.a
    if other < instance.count and partial.nodes[other] == NONE:
        return NONE
    return instance.site_of(other, partial.nodes)  # type: ignore[arg-type]  # an array of ints is a sequence of them


def _open(instance: Instance, partial: PartialMap, function: int) -> Bools:
    """(N,) nodes the constraints leave to the function beside those placed."""
    placed = np.flatnonzero(partial.nodes != NONE)
    fit = instance.allowed[function] & (partial.free >= instance.demand[function]).all(axis=1)
    fit[partial.nodes[placed[instance.conflict[function, placed]]]] = False
    for group in instance.groups:
        if function in group.members:
            at = [spot for member in group.members if (spot := _spot(instance, partial, member, group.scope)) != NONE]
            if at:
                fit &= _at(instance, group.scope, at) != group.anti
    return np.asarray(fit)


def _at(instance: Instance, scope: Scope, places: Sequence[int]) -> Bools:
    """(N,) the nodes that are, or whose site is, among the places."""
    among = np.zeros(len(instance.free) if scope is Scope.NODE else len(instance.topology.sites), dtype=bool)
    among[places] = True
    return among if scope is Scope.NODE else among[instance.topology.node_site]


def _spot(instance: Instance, partial: PartialMap, member: int, scope: Scope) -> int:
    """The node or site of a member, NONE if it is not placed."""
    if member >= instance.count:
        return int((instance.endpoint_node if scope is Scope.NODE else instance.endpoint_site)[member - instance.count])
    node = int(partial.nodes[member])
    return node if scope is Scope.NODE or node == NONE else int(instance.topology.node_site[node])


def _added(instance: Instance, partial: PartialMap, function: int) -> Floats:
    """(N,) what placing the function adds to the objective, paths apart."""
    placed = partial.nodes[partial.nodes != NONE]
    wake, opening = instance.adds.wake.copy(), instance.adds.opening.copy()
    wake[placed] = 0.0
    opening[instance.topology.node_site[placed]] = 0.0
    added = instance.adds.place[function] + wake + opening[instance.topology.node_site]
    if len(instance.layer_cost):
        fetch = instance.fetch[function].copy()
        for other in np.flatnonzero(partial.nodes != NONE):
            fetch[partial.nodes[other]] &= ~instance.fetch[other, partial.nodes[other]]
        added += fetch @ instance.layer_cost
    return np.asarray(added)


def _ways(instance: Instance, fronts: Sequence[_Front], function: int) -> list[_Ways]:
    """The searches of all fronts, run together."""
    rows = [(front, instance.flows[number]) for front in fronts for number in front.flows]
    if not rows:
        return [_Ways(np.zeros((0, len(instance.topology.sites))), np.zeros((0, 0))) for _ in fronts]
    sources = np.array([_other(instance, front.partial, flow, function) for front, flow in rows])
    loads = np.array([_toward(flow, function) for _, flow in rows])
    weights = instance.weights(loads[:, 0], loads[:, 1], np.array([front.partial.pool_free for front, _ in rows]))
    distances = routes.distances(instance.topology, sources, weights)
    ends = np.cumsum([len(front.flows) for front in fronts])
    return [
        _Ways(distances[end - len(front.flows) : end], weights[end - len(front.flows) : end])
        for front, end in zip(fronts, ends, strict=True)
    ]


def _toward(flow: Flow, function: int) -> tuple[int, int]:
    """kbit/s from the other member to the function, and back."""
    return (flow.out, flow.back) if flow.b == function else (flow.back, flow.out)


def _placed(
    instance: Instance, guide: Guide, front: _Front, ways: _Ways, function: int, host: int
) -> PartialMap | None:
    """The map with the function at the hosting site and its flows routed one after the other; None when one is not."""
    site = int(guide.hosts[host])
    partial = front.partial.copy()
    for row, number in enumerate(front.flows):
        flow = instance.flows[number]
        path = _routed(instance, partial, flow, function, site, (ways.distances[row], ways.weights[row]))
        if path is None:
            return None
        partial.paths[number] = path if flow.b == function else [int(instance.reverse[arc]) for arc in reversed(path)]
        partial.cost += instance.path_cost(flow, partial.paths[number])
    if any(instance.delay(partial.paths, limit) > limit.most_us for limit in instance.limits):
        return None
    node = front.node[site]
    partial.nodes[function] = node
    partial.free[node] -= instance.demand[function]
    partial.cost += front.cost[site]
    guide.placed(partial.attach, function, host)
    return partial


def _routed(
    instance: Instance, partial: PartialMap, flow: Flow, function: int, site: int, known: tuple[Floats, Floats]
) -> list[int] | None:
    """Reserve the best path of a flow from its placed member to `site`, in place; arcs in that direction.

    The search done for all is right unless an earlier flow of the same function took the room; then search again.
    """
    out, back = _toward(flow, function)
    seen = replace(flow, out=out, back=back)
    path = routes.path_back(instance.topology, *known, site)
    if path is not None and (instance.used(path, seen) > partial.pool_free).any():
        source = np.array([_other(instance, partial, flow, function)])
        weights = instance.weights(np.array([out]), np.array([back]), partial.pool_free[None])
        distances = routes.distances(instance.topology, source, weights)
        path = routes.path_back(instance.topology, distances[0], weights[0], site)
    if path is not None:
        partial.pool_free -= instance.used(path, seen)
    return path


def _descend(instance: Instance, guide: Guide, best: PartialMap) -> PartialMap:
    """Every function once, dearest traffic first: out of the map, and back in where it costs least now."""
    for function in _order(instance):
        without = _without(instance, guide, best, function)
        again = _grow(instance, guide, [without], function, 1)
        if again and again[0].cost < best.cost - 1e-9 * abs(best.cost):
            best = again[0]
    return best


def _without(instance: Instance, guide: Guide, partial: PartialMap, function: int) -> PartialMap:
    """The map with one function taken out; costs summed anew."""
    left = partial.copy()
    left.free[left.nodes[function]] += instance.demand[function]
    left.nodes[function] = NONE
    for number, flow in enumerate(instance.flows):
        if function in (flow.a, flow.b):
            left.pool_free += instance.used(left.paths.pop(number), flow)
    placed = np.flatnonzero(left.nodes != NONE)
    left.cost = instance.assignment_cost(left.nodes, placed)
    left.cost += sum(instance.path_cost(instance.flows[number], path) for number, path in left.paths.items())
    return left
