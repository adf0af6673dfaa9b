"""A request on a residual under a policy, as arrays: what :mod:`.beam`, :mod:`.exact` and :mod:`.lns` search over.

What each choice costs comes from :mod:`.objective`. Members are numbered: functions 0..F-1 in the order of the request,
endpoints after them. All traffic between two members is one :class:`Flow`, because a channel and its reverse follow the
same sites. Capacities are less the headroom of the policy. :func:`finish` turns a solver's nodes and arcs into
a :class:`Placement`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tephra.placement import objective, routes
from tephra.placement.model import (
    Capacity,
    Function,
    Ints,
    Isolation,
    Link,
    Placement,
    Policy,
    Request,
    Scope,
    Topology,
)
from tephra.placement.objective import Terms
from tephra.placement.residual import Residual, arcs_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)
NONE = -1  # kbit/s of a direction in which a flow has no channel


@dataclass(frozen=True, slots=True)
class Flow:
    """The traffic between members `a` and `b`: kbit/s of the channel a → b and of b → a, NONE where there is none."""

    a: int
    b: int
    out: int
    back: int


@dataclass(frozen=True, slots=True)
class Group:
    """An affinity: `members` share one site or node, or no two do."""

    members: tuple[int, ...]
    scope: Scope
    anti: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """The delays of the paths of these flows sum to at most so many microseconds."""

    flows: frozenset[int]
    most_us: int


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """F functions, N nodes, S sites, A arcs, P pools, E endpoints, L layers of images.

    Searches from the target of a channel go against the arcs, so `topology` has an arc back beside every one-way link,
    after those of the residual's; `real` tells them apart, and no traffic runs along one that is not.
    """

    topology: Topology
    real: Bools  # (A,)
    free: Ints  # (N, 2) less headroom
    pool_free: Ints  # (P,) less headroom
    demand: Ints  # (F, 2)
    allowed: Bools  # (F, N) class, allowed sites, guests' isolation, delay class; room for the function alone
    adds: Terms  # the objective, as what each choice adds
    endpoint_site: Ints  # (E,)
    endpoint_node: Ints  # (E,) NONE where not given
    asked: tuple[tuple[Function, str], ...]  # (F,) the functions and their tenants
    conflict: Bools  # (F, F) isolation keeps the two off one node
    flows: tuple[Flow, ...]
    groups: tuple[Group, ...]
    limits: tuple[Limit, ...]
    reverse: Ints  # (A,) the arc the other way, NONE if there is none
    layers: tuple[str, ...]  # (L,) digests
    layer_cost: Floats  # (L,)
    fetch: Bools  # (F, N, L) layers the function alone makes the node fetch

    @classmethod
    def of(cls, residual: Residual, request: Request, policy: Policy) -> "Instance":
        """Compile; ValueError where the request names a site or node the topology does not have."""
        topology, usable = residual.topology, residual.with_headroom(policy)
        functions, asked = request.functions, tuple((function, request.tenant) for function in request.functions)
        demand = np.array([(function.cpu_m, function.memory_mib) for function in functions], dtype=np.int64)
        room = (usable.node_free[None] >= demand[:, None]).all(axis=2)
        layers, layer_cost, fetch = _layers(residual, functions, policy)
        adds = objective.terms(residual, request, policy)
        endpoint_site, endpoint_node = _endpoints(topology, request)
        flows, net = _flows(request), _both_ways(topology)
        return cls(
            topology=net,
            real=np.arange(len(net.arc_source)) < len(topology.arc_source),
            free=usable.node_free,
            pool_free=_padded(usable.pool_free, len(net.pool_capacity)),
            demand=demand,
            allowed=_admitted(residual, request) & room,
            adds=_on(net, adds),
            endpoint_site=endpoint_site,
            endpoint_node=endpoint_node,
            asked=asked,
            conflict=_conflict(asked),
            flows=flows,
            groups=_groups(request),
            limits=() if request.max_path_us is None else (Limit(frozenset(range(len(flows))), request.max_path_us),),
            reverse=_reverse(net),
            layers=layers,
            layer_cost=layer_cost,
            fetch=fetch,
        )

    def priced(self, adds: Terms) -> "Instance":
        """The instance with other terms of the objective, those of the residual's arcs."""
        return replace(self, adds=_on(self.topology, adds))

    @property
    def count(self) -> int:
        """F, the number of functions."""
        return len(self.demand)

    def weights(self, out: Ints, back: Ints, pool_free: Ints) -> Floats:
        """What the arcs cost searches that carry `out` (R,) kbit/s along and `back` (R,) against an arc, NONE for no
        channel: (R, A), inf where `pool_free` (R, P) has not the room."""
        topology = self.topology
        room = pool_free[:, topology.arc_pool]
        along, against = (out > NONE)[:, None], (back > NONE)[:, None]
        cost = along * self.adds.delay + np.maximum(out, 0)[:, None] * self.adds.kbps
        usable = ~along | (self.real & (room >= out[:, None]))
        if against.any():
            other = self.reverse
            there = (other >= 0) & self.real[other]
            cost = cost + against * np.where(there, self.adds.delay[other], 0.0)
            cost = cost + np.maximum(back, 0)[:, None] * self.adds.kbps[other]
            usable &= ~against | (there & (room[:, other] >= back[:, None]))
            one_pool = there & (topology.arc_pool[other] == topology.arc_pool)
            usable &= ~(along & against & one_pool) | (room >= (out + back)[:, None])
        return np.where(usable, cost, np.inf)

    def used(self, path: Sequence[int], flow: Flow) -> Ints:
        """(P,) kbit/s that a flow takes of every pool when its channels run along (`out`) and against the arcs."""
        taken = np.zeros_like(self.pool_free)
        for arc in path:
            taken[self.topology.arc_pool[arc]] += max(flow.out, 0)
            if flow.back > NONE:
                taken[self.topology.arc_pool[self.reverse[arc]]] += flow.back
        return taken

    def path_cost(self, flow: Flow, path: Sequence[int]) -> float:
        """What the flow's channels cost on these arcs, from `a` to `b`."""
        cost = 0.0
        for kbps, arcs in ((flow.out, path), (flow.back, [int(self.reverse[arc]) for arc in path])):
            if kbps > NONE:
                cost += sum(float(self.adds.delay[arc]) for arc in arcs)
                cost += sum(kbps * float(self.adds.kbps[arc]) for arc in arcs)
        return cost

    def path_delay(self, flow: Flow, path: Sequence[int]) -> int:
        """The sum of the delays of the flow's channels on these arcs, in microseconds."""
        channels = ((flow.out > NONE, path), (flow.back > NONE, [self.reverse[arc] for arc in path]))
        return sum(int(self.topology.arc_delay[arc]) for has, arcs in channels if has for arc in arcs)

    def assignment_cost(self, nodes: Ints, functions: Ints | None = None) -> float:
        """All of the objective but the paths, for the node of every function (or of those `functions` alone)."""
        functions = np.arange(self.count) if functions is None else functions
        used = np.unique(nodes[functions])
        cost = float(self.adds.place[functions, nodes[functions]].sum()) + float(self.adds.wake[used].sum())
        cost += float(self.adds.opening[np.unique(self.topology.node_site[used])].sum())
        if len(self.layer_cost):
            fetched = np.zeros(self.fetch.shape[1:], dtype=bool)
            for function in functions:
                fetched[nodes[function]] |= self.fetch[function, nodes[function]]
            cost += float((fetched @ self.layer_cost).sum())
        return cost

    def value(self, nodes: Sequence[int], paths: Sequence[Sequence[int]]) -> float:
        """The objective of functions on `nodes` with flows on `paths`."""
        cost = self.assignment_cost(np.asarray(nodes, dtype=np.int64))
        return cost + sum(self.path_cost(flow, path) for flow, path in zip(self.flows, paths, strict=True))

    def site_of(self, member: int, nodes: Sequence[int]) -> int:
        """The site of a member when functions run on `nodes`."""
        if member < self.count:
            return int(self.topology.node_site[nodes[member]])
        return int(self.endpoint_site[member - self.count])

    def delay(self, paths: Mapping[int, Sequence[int]], limit: Limit) -> int:
        """The sum that a limit bounds, in microseconds, of the paths known."""
        return sum(self.path_delay(self.flows[flow], path) for flow, path in paths.items() if flow in limit.flows)


def join(instances: Sequence[Instance]) -> Instance:
    """Several requests on one residual as one: functions in the order given, then all endpoints. What a site, a node or
    a layer costs for the first time is taken from the first, and is the same in all."""
    first, number = instances[0], _renumber(instances)
    flows = np.cumsum([0, *(len(instance.flows) for instance in instances)])
    asked = tuple(item for instance in instances for item in instance.asked)
    layers = dict(zip(first.layers, first.layer_cost, strict=True))
    for instance in instances:
        layers |= dict(zip(instance.layers, instance.layer_cost, strict=True))
    return replace(
        first,
        demand=np.concatenate([instance.demand for instance in instances]),
        allowed=np.concatenate([instance.allowed for instance in instances]),
        adds=replace(first.adds, place=np.concatenate([instance.adds.place for instance in instances])),
        endpoint_site=np.concatenate([instance.endpoint_site for instance in instances]),
        endpoint_node=np.concatenate([instance.endpoint_node for instance in instances]),
        asked=asked,
        conflict=_conflict(asked),
        flows=tuple(
            replace(flow, a=number[of, flow.a], b=number[of, flow.b])
            for of, instance in enumerate(instances)
            for flow in instance.flows
        ),
        groups=tuple(
            replace(group, members=tuple(number[of, member] for member in group.members))
            for of, instance in enumerate(instances)
            for group in instance.groups
        ),
        limits=tuple(
            replace(limit, flows=frozenset(int(flows[of]) + flow for flow in limit.flows))
            for of, instance in enumerate(instances)
            for limit in instance.limits
        ),
        layers=tuple(layers),
        layer_cost=np.array(list(layers.values()), dtype=float),
        fetch=np.concatenate([_spread(instance, tuple(layers)) for instance in instances]),
    )


def _renumber(instances: Sequence[Instance]) -> dict[tuple[int, int], int]:
    """(instance, member) → member of the joined instance."""
    number, functions, endpoints = dict[tuple[int, int], int](), 0, sum(instance.count for instance in instances)
    for of, instance in enumerate(instances):
        for member in range(instance.count):
            number[of, member], functions = functions, functions + 1
        for member in range(instance.count, instance.count + len(instance.endpoint_site)):
            number[of, member], endpoints = endpoints, endpoints + 1
    return number


def _spread(instance: Instance, layers: tuple[str, ...]) -> Bools:
    """(F, N, L) the layers an instance fetches, among more layers."""
    fetch = np.zeros((*instance.fetch.shape[:2], len(layers)), dtype=bool)
    fetch[:, :, [layers.index(layer) for layer in instance.layers]] = instance.fetch
    return fetch


def read(instance: Instance, request: Request, placement: Placement) -> tuple[tuple[int, ...], tuple[list[int], ...]]:
    """Node by function and arcs by flow of a placement of the request."""
    topology, members = instance.topology, _members(request)
    nodes = tuple(topology.node_index[placement.assignment[function.name]] for function in request.functions)
    ends = ((members[flow.a], members[flow.b], flow.out > NONE) for flow in instance.flows)
    sites = (placement.paths[a, b] if has else placement.paths[b, a][::-1] for a, b, has in ends)
    return nodes, tuple(arcs_of(topology, path) for path in sites)


def finish(  # noqa: PLR0913 - one fact each
    instance: Instance,
    request: Request,
    nodes: Sequence[int],
    paths: Sequence[Sequence[int]],
    *,
    lower_bound: float,
    solver: str,
    started: float,
    explanation: tuple[str, ...] = (),
) -> Placement:
    """The placement of functions on `nodes` with every flow on its `paths` (arcs from `a` to `b`)."""
    value, names = instance.value(nodes, paths), instance.topology.nodes
    return Placement(
        request=request,
        assignment={function.name: names[node].name for function, node in zip(request.functions, nodes, strict=True)},
        paths=_channel_paths(instance, _members(request), nodes, paths),
        objective=value,
        lower_bound=min(lower_bound, value),
        solver=solver,
        milliseconds=(perf_counter() - started) * 1000,
        explanation=explanation,
    )


def _channel_paths(
    instance: Instance, members: Sequence[str], nodes: Sequence[int], paths: Sequence[Sequence[int]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    topology, named = instance.topology, dict[tuple[str, str], tuple[str, ...]]()
    for flow, path in zip(instance.flows, paths, strict=True):
        at = [instance.site_of(flow.a, nodes), *(int(topology.arc_target[arc]) for arc in path)]
        sites = tuple(topology.sites[site].name for site in at)
        if flow.out > NONE:
            named[members[flow.a], members[flow.b]] = sites
        if flow.back > NONE:
            named[members[flow.b], members[flow.a]] = sites[::-1]
    return named


def _members(request: Request) -> list[str]:
    """The names of the members by their number."""
    return [*(item.name for item in request.functions), *(item.name for item in request.endpoints)]


def _admitted(residual: Residual, request: Request) -> Bools:
    """(F, N): class, allowed sites, isolation of the guests, delay from the anchor. Equal functions are asked once."""
    topology, known = residual.topology, dict[tuple[object, ...], Bools]()
    delay = _anchor_delay(topology, request)
    rows = []
    for function in request.functions:
        kind = (function.compute_class, function.sites, function.isolation)
        if kind not in known:
            everywhere = range(len(topology.nodes))
            known[kind] = np.array([residual.admits(node, function, request.tenant) for node in everywhere], dtype=bool)
        near = True if function.max_delay_us is None else delay[topology.node_site] <= function.max_delay_us
        rows.append(known[kind] & near)
    return np.array(rows).reshape(len(rows), len(topology.nodes))


def _anchor_delay(topology: Topology, request: Request) -> Floats:
    """(S,) the least delay from the anchor over the links that are up, in microseconds; zeros without an anchor."""
    anchor = next((endpoint.site for endpoint in request.endpoints if endpoint.name == request.anchor), None)
    if anchor is None:
        return np.zeros(len(topology.sites))
    source = np.array([topology.site_index[anchor]])
    delays = routes.distances(topology, source, topology.arc_delay[None].astype(float))[0]
    return np.asarray(np.floor(delays))  # less what routes add per hop


def _endpoints(topology: Topology, request: Request) -> tuple[Ints, Ints]:
    """The sites and nodes of the endpoints."""
    for endpoint in request.endpoints:
        owner = f"Request {request.name}: endpoint {endpoint.name!r}"
        if endpoint.site not in topology.site_index:
            raise ValueError(f"{owner} is at site {endpoint.site!r}, which the topology does not have")
        if endpoint.node and endpoint.node not in topology.node_index:
            raise ValueError(f"{owner} is on node {endpoint.node!r}, which the topology does not have")
    sites = [topology.site_index[endpoint.site] for endpoint in request.endpoints]
    nodes = [topology.node_index.get(endpoint.node, NONE) for endpoint in request.endpoints]
    return np.array(sites, dtype=np.int64), np.array(nodes, dtype=np.int64)


def _flows(request: Request) -> tuple[Flow, ...]:
    number = {name: index for index, name in enumerate(_members(request))}
    asked = {(number[item.source], number[item.target]): item.bandwidth_kbps for item in request.channels}
    return tuple(
        Flow(a, b, kbps, asked.get((b, a), NONE)) for (a, b), kbps in asked.items() if a < b or (b, a) not in asked
    )


def _groups(request: Request) -> tuple[Group, ...]:
    members = _members(request)
    return tuple(
        Group(tuple(sorted(members.index(name) for name in item.members)), item.scope, item.anti)
        for item in request.affinities
    )


_mirrored: WeakKeyDictionary[Topology, Topology | None] = WeakKeyDictionary()


def _both_ways(topology: Topology) -> Topology:
    """The topology with an arc back for every arc that has none; itself when all have."""
    if topology not in _mirrored:
        names, known = [site.name for site in topology.sites], topology.arc_index
        back = [
            Link(names[b], names[a], int(topology.arc_delay[arc]), 1, Capacity.ONE_WAY)
            for (a, b), arc in known.items()
            if (b, a) not in known
        ]
        _mirrored[topology] = Topology(topology.sites, (*topology.links, *back)) if back else None
    return _mirrored[topology] or topology


def _on(net: Topology, adds: Terms) -> Terms:
    """The terms with zeros for the arcs back, along which nothing runs."""
    more = len(net.arc_source)
    return replace(adds, delay=_padded(adds.delay, more), kbps=_padded(adds.kbps, more))


def _padded(array: NDArray[Number], size: int) -> NDArray[Number]:
    """The array, and zeros up to `size`."""
    return array if len(array) == size else np.concatenate([array, np.zeros(size - len(array), dtype=array.dtype)])


def _reverse(topology: Topology) -> Ints:
    index: Mapping[tuple[int, int], int] = topology.arc_index
    ends = zip(topology.arc_source.tolist(), topology.arc_target.tolist(), strict=True)
    return np.array([index.get((b, a), NONE) for a, b in ends], dtype=np.int64)


def _conflict(asked: Sequence[tuple[Function, str]]) -> Bools:
    """(F, F) pairs that isolation keeps off one node, as :func:`tephra.placement.residual.may_share` has it."""
    tenants = np.array([tenant for _, tenant in asked])
    exclusive = np.array([function.isolation is Isolation.EXCLUSIVE for function, _ in asked])
    jealous = np.array([function.isolation is Isolation.TENANT for function, _ in asked])
    strangers = tenants[:, None] != tenants[None]
    return np.asarray(exclusive[:, None] | exclusive[None] | ((jealous[:, None] | jealous[None]) & strangers))


def _layers(residual: Residual, functions: Sequence[Function], policy: Policy) -> tuple[tuple[str, ...], Floats, Bools]:
    """(L,) digest and price of every layer asked for; (F, N, L) who makes which node fetch it. L = 0 when pulls cost
    nothing."""
    nodes = range(len(residual.topology.nodes))
    images = {item.image for item in functions if item.image is not None and policy.pull}
    layers = sorted({layer for image in images for layer in image.layers}, key=lambda layer: layer.digest)
    missing = {
        (image, layer): [residual.missing_mib(node, (replace(image, layers=(layer,)),)) > 0 for node in nodes]
        for image in images
        for layer in image.layers
    }
    fetch = np.zeros((len(functions), len(nodes), len(layers)), dtype=bool)
    for f, function in enumerate(functions):
        for number, layer in enumerate(layers):
            if function.image is not None and (function.image, layer) in missing:
                fetch[f, :, number] = missing[function.image, layer]
    cost = policy.pull * np.array([layer.mib for layer in layers], dtype=float)
    return tuple(layer.digest for layer in layers), cost, fetch
