"""A request on a residual under a policy, as arrays: what :mod:`.beam`, :mod:`.exact` and :mod:`.lns` search over.

:mod:`.formulate` makes it. What each choice costs comes from :mod:`.objective`. Members are numbered: functions 0..F-1
in the order of the request, endpoints after them. All traffic between two members is one :class:`Flow`, because a
channel and its reverse follow the same sites. :func:`finish` turns a solver's nodes and arcs into a :class:`Placement`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tephra.placement.model import (
    Function,
    Ints,
    Isolation,
    Placement,
    Request,
    Scope,
    Topology,
)
from tephra.placement.objective import Terms
from tephra.placement.residual import arcs_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)
NONE = -1  # kbit/s of a direction in which a flow has no channel


@dataclass(frozen=True, slots=True)
class Flow:
    """The traffic between members `a` and `b`: kbit/s of the channel a → b, and of b → a, NONE if there is no such one.

    Seen from `b` (as a search from there does) it may be the first that is NONE.
    """

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

    def priced(self, adds: Terms) -> "Instance":
        """The instance with other terms of the objective, those of the residual's arcs."""
        return replace(self, adds=on_network(self.topology, adds))

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
        conflict=conflicts(asked),
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
    topology, names = instance.topology, members(request)
    nodes = tuple(topology.node_index[placement.assignment[function.name]] for function in request.functions)
    paths = (placement.paths[names[flow.a], names[flow.b]] for flow in instance.flows)
    return nodes, tuple(arcs_of(topology, path) for path in paths)


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
        paths=_channel_paths(instance, members(request), nodes, paths),
        objective=value,
        lower_bound=min(lower_bound, value),
        solver=solver,
        milliseconds=(perf_counter() - started) * 1000,
        explanation=explanation,
    )


def _channel_paths(
    instance: Instance, names: Sequence[str], nodes: Sequence[int], paths: Sequence[Sequence[int]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    topology, named = instance.topology, dict[tuple[str, str], tuple[str, ...]]()
    for flow, path in zip(instance.flows, paths, strict=True):
        at = [instance.site_of(flow.a, nodes), *(int(topology.arc_target[arc]) for arc in path)]
        sites = tuple(topology.sites[site].name for site in at)
        named[names[flow.a], names[flow.b]] = sites
        if flow.back > NONE:
            named[names[flow.b], names[flow.a]] = sites[::-1]
    return named


def members(request: Request) -> list[str]:
    """The names of the members by their number."""
    return [*(item.name for item in request.functions), *(item.name for item in request.endpoints)]


def on_network(net: Topology, adds: Terms) -> Terms:
    """The terms with zeros for the arcs back, along which nothing runs."""
    more = len(net.arc_source)
    return replace(adds, delay=padded(adds.delay, more), kbps=padded(adds.kbps, more))


def padded(array: NDArray[Number], size: int) -> NDArray[Number]:
    """The array, and zeros up to `size`."""
    return array if len(array) == size else np.concatenate([array, np.zeros(size - len(array), dtype=array.dtype)])


def conflicts(asked: Sequence[tuple[Function, str]]) -> Bools:
    """(F, F) pairs that isolation keeps off one node, as :func:`tephra.placement.residual.may_share` has it."""
    tenants = np.array([tenant for _, tenant in asked])
    exclusive = np.array([function.isolation is Isolation.EXCLUSIVE for function, _ in asked])
    jealous = np.array([function.isolation is Isolation.TENANT for function, _ in asked])
    strangers = tenants[:, None] != tenants[None]
    return np.asarray(exclusive[:, None] | exclusive[None] | ((jealous[:, None] | jealous[None]) & strangers))
