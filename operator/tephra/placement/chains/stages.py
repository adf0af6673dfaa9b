"""A chain as stages over the sites that have nodes: what :mod:`.chain` searches, and the certified bound.

Functions are numbered along the chain, 0..F-1; channel k leads to function k, channel 0 from the endpoint at the head
and channel F to the one at the tail (absent channels cost nothing). H hosts are the sites with nodes. A run is a
stretch i..j-1 of the chain on one host.

The bound is a recursion from the end of the chain over runs, where every run meets its host as free as it is now, its
memory and CPU in sum over the nodes. Any placement is a sequence of runs, a host that is visited again only finds less
room, and a path costs no less than the cheapest with room for that channel alone: so no placement costs less. Costs of
opening a site are the exception, for a second visit does not pay again: see :func:`lower_bound`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tephra.placement import network, objective
from tephra.placement.model import Channel, Function, Ints, Policy, Request, Topology
from tephra.placement.network import Floats, Routes
from tephra.placement.objective import Terms
from tephra.placement.residual import Residual
from tephra.placement.shapes import order

Bools = NDArray[np.bool_]


class Leg(NamedTuple):
    """A channel between two stages and the paths it may take alone."""

    channel: Channel
    routes: Routes


@dataclass(frozen=True, slots=True, eq=False)
class Stages:
    """The compiled chain. Rows of F are along the chain."""

    functions: tuple[Function, ...]
    rank: tuple[int, ...]  # (F,) their places in the request
    residual: Residual  # less the headroom
    terms: Terms
    hosts: Ints  # (H,) site indices
    first: Ints  # (H + 1,) nodes first[h]..first[h + 1] - 1 are host h's
    demand: Ints  # (F, 2)
    allowed: Bools  # (F, N) may run there, and there is room for it alone
    room: Ints  # (H, 2) free in sum over the nodes
    reach: Ints  # (F, H) a run from i on h ends at reach[i, h] at the latest, i where it cannot start
    price: Floats  # (F + 1, H) least cost on the host of the functions before each
    opening: Floats  # (H,) at least, for the first function there
    legs: tuple[Leg | None, ...]  # (F + 1,)
    head: Floats  # (H,) cost of channel 0
    hops: tuple[Floats, ...]  # (F + 1) of (H, H): cost of channel k between hosts, inf on the diagonal
    tail: Floats  # (H,) cost of channel F
    ends: tuple[int, int]  # sites of the endpoints at head and tail, -1 where there is none


class Bounds(NamedTuple):
    """The recursion: least cost of what is still to come."""

    rest: Floats  # (F + 1, H) functions before are placed, the last on h; the next runs elsewhere
    start: Floats  # (F, H) a run starts at i on h, its opening and prices included


def compile_chain(residual: Residual, request: Request, policy: Policy) -> Stages:
    """The stages of a chain request on a topology with nodes; ValueError where an endpoint's site is not in it."""
    topology, usable = residual.topology, residual.with_headroom(policy)
    terms = objective.terms(residual, request, policy)
    arcs = [(channel.source, channel.target) for channel in request.channels]
    names = order([function.name for function in request.functions], (), arcs)
    number = {function.name: place for place, function in enumerate(request.functions)}
    rank = tuple(number[name] for name in names)
    functions = tuple(request.functions[place] for place in rank)
    demand = np.array([(function.cpu_m, function.memory_mib) for function in functions], dtype=np.int64)
    hosts, counts = np.unique(topology.node_site, return_counts=True)
    first = np.concatenate(([0], np.cumsum(counts)))
    fits = (usable.node_free[None] >= demand[:, None]).all(axis=2)
    allowed = fits & admitted(residual, request, functions)
    at = np.logical_or.reduceat(allowed, first[:-1], axis=1)
    spare = _usable(usable.node_free, demand)
    legs = _legs(usable, request, names, policy, terms)
    head_site, tail_site = _ends(topology, request, legs)
    factor = 1.0 if policy.traffic else policy.latency
    return Stages(
        functions=functions,
        rank=rank,
        residual=usable,
        terms=terms,
        hosts=hosts,
        first=first,
        demand=demand,
        allowed=allowed,
        room=_per_host(spare, first),
        reach=_reach(demand, at, spare, first),
        price=_prices(terms.place[list(rank)], allowed, first),
        opening=terms.opening[hosts] + np.minimum.reduceat(terms.wake, first[:-1]),
        legs=legs,
        head=_times(_from(legs[0], head_site, hosts), factor),
        hops=_hops(legs, hosts, factor),
        tail=_times(_to(legs[-1], tail_site, hosts), factor),
        ends=(head_site, tail_site),
    )


def admitted(residual: Residual, request: Request, functions: tuple[Function, ...]) -> Bools:
    """(F, N) compute class, allowed sites, the isolation of the guests, and the delay class. Equals are asked once."""
    topology, nodes = residual.topology, range(len(residual.topology.nodes))
    delay = _anchor_delay(topology, request)[topology.node_site]
    kinds: dict[object, Bools] = {}
    rows: dict[object, Bools] = {}
    result = np.empty((len(functions), len(nodes)), dtype=bool)
    for place, function in enumerate(functions):
        kind = (function.compute_class, function.sites, function.isolation)
        if kind not in kinds:
            kinds[kind] = np.array([residual.admits(node, function, request.tenant) for node in nodes], dtype=bool)
        key, bound = (kind, function.max_delay_us), function.max_delay_us
        if key not in rows:
            rows[key] = kinds[kind] if bound is None else kinds[kind] & (delay <= bound)
        result[place] = rows[key]
    return result


def _anchor_delay(topology: Topology, request: Request) -> Floats:
    """(S,) from the anchor; zeros without one."""
    site = next((endpoint.site for endpoint in request.endpoints if endpoint.name == request.anchor), None)
    if site is None:
        return np.zeros(len(topology.sites))
    return network.anchor_delay(topology, _site(topology, request, site))


def bounds(stages: Stages) -> Bounds:
    """The recursion, with the costs of opening a host at every run."""
    return _recursion(stages, stages.opening)


def lower_bound(stages: Stages, found: Bounds) -> float:
    """The certified bound of the unrestricted problem; inf when no placement exists.

    Without opening costs it is the recursion's. With them, it is that of the placements that visit no host twice, and
    :func:`revisiting` is that of the others.
    """
    once = float((stages.head + found.start[0]).min())
    return min(once, revisiting(stages)) if stages.opening.any() and once < np.inf else once


def revisiting(stages: Stages) -> float:
    """A lower bound of the placements that visit some host twice: they have at least three runs. The hosts of the
    first two differ and are opened; what is opened later is left out, for it may be one of them again."""
    third = _recursion(stages, np.zeros_like(stages.opening))
    second = _recursion(stages, stages.opening, _unended(third.rest))
    first = _recursion(stages, stages.opening, _unended(second.rest))
    return float((stages.head + first.start[0]).min())


def opened_first(stages: Stages, found: Bounds) -> tuple[Bounds, Bounds, Bounds]:
    """What is still to come whatever is visited again, by the runs done: none, one, two and more. The first two open
    their hosts for sure, those after them are not charged. `found` is that of :func:`bounds`."""
    if not stages.opening.any():
        return found, found, found
    many = _recursion(stages, np.zeros_like(stages.opening))
    one = _recursion(stages, stages.opening, many.rest)
    return _recursion(stages, stages.opening, one.rest), one, many


def _unended(rest: Floats) -> Floats:
    """Costs of what follows, where something must."""
    return np.concatenate((rest[:-1], np.full((1, rest.shape[1]), np.inf)))


def _recursion(stages: Stages, opening: Floats, after: Floats | None = None) -> Bounds:
    """Least costs of one run and `after` (F + 1, H), the least of what follows; by default more runs like it."""
    count, width = stages.reach.shape
    rest, start = np.full((count + 1, width), np.inf), np.full((count, width), np.inf)
    rest[count] = stages.tail
    ahead = stages.price + (rest if after is None else after)
    place = np.arange(count + 1)[:, None]
    for i in range(count - 1, -1, -1):
        reach = stages.reach[i]
        top = int(reach.max(initial=i))
        if top == i:
            continue
        within = place[i + 1 : top + 1] <= reach
        start[i] = opening + np.where(within, ahead[i + 1 : top + 1], np.inf).min(axis=0) - stages.price[i]
        if i:
            rest[i] = (stages.hops[i] + start[i]).min(axis=1)
        if i and after is None:
            ahead[i] = stages.price[i] + rest[i]
    return Bounds(rest, start)


def _per_host(amounts: Ints, first: Ints) -> Ints:
    """(H, ...) sums over the nodes of each host."""
    return np.asarray(np.add.reduceat(amounts, first[:-1], axis=0))


def _usable(free: Ints, demand: Ints) -> Ints:
    """(N, 2) what nodes can give: whole multiples of what all demands are multiples of, and nothing where the node is
    too small for every function."""
    unit = np.maximum(np.gcd.reduce(demand, axis=0), 1)
    enough = (free >= demand.min(axis=0)).all(axis=1)
    return np.where(enough[:, None], free // unit * unit, 0)


def _reach(demand: Ints, at: Bools, usable: Ints, first: Ints) -> Ints:
    """(F, H) how far a run may go: as long as every function may run there, the sums hold, and there are as many
    places for functions of a size or more as there are such functions, for every size."""
    count = len(demand)
    blocked = np.where(at, count, np.arange(count)[:, None])
    reach = np.minimum.accumulate(blocked[::-1], axis=0)[::-1]
    for resource in range(2):
        amounts, free = demand[:, resource], usable[:, resource]
        reach = np.minimum(reach, _held(amounts, _per_host(free, first)))
        for size in np.unique(amounts)[1:].tolist():
            reach = np.minimum(reach, _held((amounts >= size).astype(np.int64), _per_host(free // size, first)))
    return np.asarray(reach)


def _held(amounts: Ints, room: Ints) -> Ints:
    """(F, H) how far runs may go so that the sum of `amounts` (F,) stays within `room` (H,)."""
    if amounts.sum() <= room.min():
        return np.full((len(amounts), len(room)), len(amounts))
    before = np.concatenate(([0], np.cumsum(amounts)))
    limit = before[:-1, None] + room
    return np.asarray(np.searchsorted(before, limit.ravel(), side="right").reshape(limit.shape) - 1)


def _prices(place: Floats, allowed: Bools, first: Ints) -> Floats:
    """(F + 1, H) least costs per function on the nodes of each host, summed along the chain."""
    least = np.minimum.reduceat(np.where(allowed, place, np.inf), first[:-1], axis=1)
    least = np.where(np.isfinite(least), least, 0.0)  # no run goes there: reach says so
    return np.concatenate((np.zeros((1, least.shape[1])), np.cumsum(least, axis=0)))


def _legs(
    usable: Residual, request: Request, names: tuple[str, ...], policy: Policy, terms: Terms
) -> tuple[Leg | None, ...]:
    """The channels along the chain, each with the paths that have room for it alone: cheapest by delay, or by delay
    and price where traffic has one."""
    topology, place = usable.topology, {name: index for index, name in enumerate(names)}
    legs: list[Leg | None] = [None] * (len(names) + 1)
    known: dict[int, Routes] = {}
    free = np.sort(usable.pool_free)
    for channel in request.channels:
        kbps = channel.bandwidth_kbps
        closed = kbps if policy.traffic else int(np.searchsorted(free, kbps))  # the same links closed, the same paths
        if closed not in known:
            weights = terms.delay + kbps * terms.kbps if policy.traffic else topology.arc_delay
            room = usable.pool_free[topology.arc_pool] >= kbps
            known[closed] = network.routes(topology, np.where(room, weights, np.inf))
        legs[place.get(channel.target, len(names))] = Leg(channel, known[closed])
    return tuple(legs)


def _ends(topology: Topology, request: Request, legs: tuple[Leg | None, ...]) -> tuple[int, int]:
    """The sites of the endpoints at the head and the tail of the chain; -1 where there is none."""
    at = {endpoint.name: _site(topology, request, endpoint.site) for endpoint in request.endpoints}
    head, tail = legs[0], legs[-1]
    return at[head.channel.source] if head else -1, at[tail.channel.target] if tail else -1


def _hops(legs: tuple[Leg | None, ...], hosts: Ints, factor: float) -> tuple[Floats, ...]:
    """(F + 1) of (H, H), the same array for channels with the same paths."""
    known: dict[int, Floats] = {}
    result = []
    for leg in legs:
        key = id(leg.routes) if leg else 0
        if key not in known:
            rows = leg.routes.rows(hosts)[:, hosts] if leg else np.zeros((len(hosts), len(hosts)))
            known[key] = _times(rows, factor)
            np.fill_diagonal(known[key], np.inf)
        result.append(known[key])
    return tuple(result)


def _times(distance: Floats, factor: float) -> Floats:
    """A distance as a cost; what cannot be reached stays so at any price."""
    return np.where(np.isfinite(distance), np.nan_to_num(distance, posinf=0.0) * factor, np.inf)


def _from(leg: Leg | None, site: int, hosts: Ints) -> Floats:
    return leg.routes.rows(np.array([site]))[0, hosts] if leg else np.zeros(len(hosts))


def _to(leg: Leg | None, site: int, hosts: Ints) -> Floats:
    return leg.routes.rows(hosts)[:, site] if leg else np.zeros(len(hosts))


def _site(topology: Topology, request: Request, name: str) -> int:
    if name not in topology.site_index:
        raise ValueError(f"Request {request.name}: site {name!r} of an endpoint is not in the topology; correct it")
    return topology.site_index[name]
