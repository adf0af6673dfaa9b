"""Why a request cannot be placed: what stopped it, as far as it can be proved.

:func:`cause` looks for what no placement can get round, from the particular to the general: a function that no node can
take (its class, its sites, its delay, its isolation, room for it alone), a channel that no path can carry, functions
that together ask for more than the nodes open to them have. What it finds is a proof; when it finds nothing, the pieces
fit one by one and only not together. Used by :mod:`.solve`, beside :mod:`.relax`.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from tephra.placement.model import Channel, Function, Policy, Request, Topology
from tephra.placement.network import anchor_delay
from tephra.placement.residual import Residual, may_share

Bools = NDArray[np.bool_]
RESOURCES = ("cpu_m", "memory_mib")
UNITS = {"cpu_m": "millicores of CPU", "memory_mib": "MiB of memory"}


class Cause(NamedTuple):
    """What stops a request, in words and as data; see :class:`tephra.placement.model.Refusal`."""

    reason: str
    function: str | None = None
    compute_class: str | None = None
    resource: str | None = None
    link: tuple[str, str] | None = None


def cause(residual: Residual, request: Request, policy: Policy) -> Cause | None:
    """A proof that there is no placement, or None."""
    usable = residual.with_headroom(policy)
    delay = delays(residual.topology, request)
    open_to: list[Bools] = []
    for function in request.functions:
        nodes, found = _nodes_for(usable, request, function, delay)
        if found is not None:
            return found
        open_to.append(nodes)
    crowd = _crowd(usable, request.functions, open_to)
    if crowd is not None or _all_joined(usable, request):
        return crowd
    return _by_channels(usable, request, open_to)


def delays(topology: Topology, request: Request) -> NDArray[np.float64]:
    """(S,) µs from the anchor; zeros without one."""
    for endpoint in request.endpoints:
        if endpoint.name == request.anchor:
            return anchor_delay(topology, topology.site_index[endpoint.site])
    return np.zeros(len(topology.sites))


def _nodes_for(
    usable: Residual, request: Request, function: Function, delay: NDArray[np.float64]
) -> tuple[Bools, Cause | None]:
    """(N,) the nodes that could take the function alone, or what leaves none."""
    topology, name = usable.topology, function.name
    nodes = np.array([function.compute_class in node.classes for node in topology.nodes], bool)
    if not nodes.any():
        text = f"no node has the compute class {function.compute_class!r} that {name!r} needs"
        return nodes, Cause(text, name, function.compute_class, "compute_class")
    if function.sites:
        nodes &= np.array([topology.site_of(node.name) in function.sites for node in topology.nodes], bool)
        if not nodes.any():
            text = f"none of the sites that {name!r} allows has a node of class {function.compute_class!r}"
            return nodes, Cause(text, name, function.compute_class, "sites")
    if function.max_delay_us is not None:
        nearest = float(delay[topology.node_site[nodes]].min())
        nodes &= delay[topology.node_site] <= function.max_delay_us
        if not nodes.any():
            return nodes, _too_far(function, nearest)
    guests = [usable.guests.get(node, ()) for node in range(len(topology.nodes))]
    nodes &= [all(may_share(function, request.tenant, g.function, g.tenant) for g in here) for here in guests]
    if not nodes.any():
        text = f"isolation: every node that could take {name!r} has functions that it must not share a node with"
        return nodes, Cause(text, name, function.compute_class, "isolation")
    return _room_for(usable, function, nodes)


def _too_far(function: Function, nearest: float) -> Cause:
    where = f"the nearest is {nearest:.0f} µs away" if math.isfinite(nearest) else "no link leads to any from there"
    text = f"no node for {function.name!r} is within {function.max_delay_us} µs of the anchor: {where}"
    return Cause(text, function.name, function.compute_class, "max_delay_us")


def _room_for(usable: Residual, function: Function, nodes: Bools) -> tuple[Bools, Cause | None]:
    for column, resource in enumerate(RESOURCES):
        demand, most = getattr(function, resource), int(usable.node_free[nodes, column].max())
        nodes = nodes & (usable.node_free[:, column] >= demand)
        if not nodes.any():
            text = f"{function.name!r} needs {demand} {UNITS[resource]}, no node open to it has more than {most} free"
            return nodes, Cause(text, function.name, function.compute_class, resource)
    return nodes, None


def _all_joined(usable: Residual, request: Request) -> bool:
    """Whether every site reaches every other over links with room for the largest channel: then channels, one by one,
    stop nothing."""
    topology, size = usable.topology, len(usable.topology.sites)
    wide = usable.pool_free[topology.arc_pool] >= max((c.bandwidth_kbps for c in request.channels), default=0)
    ends = (topology.arc_source[wide], topology.arc_target[wide])
    graph = csr_array((np.ones(int(wide.sum())), ends), shape=(size, size))
    return bool((connected_components(graph, connection="strong")[1] == 0).all())


def _by_channels(usable: Residual, request: Request, open_to: Sequence[Bools]) -> Cause | None:
    """What channels, each alone on the network, leave open to the ends of others, until nothing changes (arc
    consistency); then functions that are too many for what is left to them."""
    topology = usable.topology
    at = {f.name: _at_sites(topology, nodes) for f, nodes in zip(request.functions, open_to, strict=True)}
    at |= {end.name: np.arange(len(topology.sites)) == topology.site_index[end.site] for end in request.endpoints}
    before: dict[str, Bools] = {}
    while any((at[name] != before.get(name)).any() for name in at):
        before = dict(at)
        for channel in request.channels:
            reached = at[channel.target] & _reach(usable, at[channel.source], channel.bandwidth_kbps)
            if not reached.any():
                return _thin(usable, channel, at)
            at[channel.target] = reached
            at[channel.source] = at[channel.source] & _reach(usable, reached, channel.bandwidth_kbps, back=True)
    left = [nodes & at[f.name][topology.node_site] for f, nodes in zip(request.functions, open_to, strict=True)]
    crowd = _crowd(usable, request.functions, left)
    return crowd._replace(reason=f"{crowd.reason}: links to others have no room for their channels") if crowd else None


def _at_sites(topology: Topology, nodes: Bools) -> Bools:
    """(N,) nodes → (S,) the sites that have any of them."""
    return np.isin(np.arange(len(topology.sites)), topology.node_site[nodes])


def _reach(usable: Residual, sites: Bools, kbps: int, back: bool = False) -> Bools:
    """(S,) the sites that a channel of `kbps` can go to from any of `sites`, or with `back` come from."""
    topology = usable.topology
    wide = usable.pool_free[topology.arc_pool] >= kbps
    start, end = topology.arc_source[wide], topology.arc_target[wide]
    if back:
        start, end = end, start
    reached, count = sites.copy(), -1
    while count != (count := int(reached.sum())):
        reached[end[reached[start]]] = True
    return reached


def _thin(usable: Residual, channel: Channel, at: Mapping[str, Bools]) -> Cause:
    """That no path between the sites open to the ends of a channel can carry it."""
    ends = f"the channel {channel.source!r} → {channel.target!r}"
    width, link = _widest(usable, set(np.flatnonzero(at[channel.source])), set(np.flatnonzero(at[channel.target])))
    if link is None:
        return Cause(f"{ends} has no path: no links join the sites open to them", resource="bandwidth_kbps")
    need = f"{ends} needs {channel.bandwidth_kbps} kbit/s"
    text = f"{need}, but link {link[0]} - {link[1]} on its widest path has {width:.0f} free"
    return Cause(text, resource="bandwidth_kbps", link=link)


def _widest(usable: Residual, sources: set[int], targets: set[int]) -> tuple[float, tuple[str, str] | None]:
    """The width in kbit/s of the widest path from any source to any target and its thinnest link; inf where the two
    meet, -1 where there is no path."""
    topology = usable.topology
    out: dict[int, list[int]] = defaultdict(list)
    for arc, source in enumerate(topology.arc_source.tolist()):
        out[source].append(arc)
    queue: list[tuple[float, int, int]] = []  # minus the width, site, thinnest arc
    for source in sorted(sources):
        heappush(queue, (-math.inf, source, -1))
    done: set[int] = set()
    while queue:
        width, site, thinnest = heappop(queue)
        if site in targets:
            return -width, _link(topology, thinnest)
        if site in done:
            continue
        done.add(site)
        for arc in out[site]:
            free = float(usable.pool_free[topology.arc_pool[arc]])
            thin = arc if free < -width else thinnest
            heappush(queue, (max(width, -free), int(topology.arc_target[arc]), thin))
    return -1, None


def _link(topology: Topology, arc: int) -> tuple[str, str] | None:
    if arc < 0:
        return None
    return tuple(topology.sites[int(ends[arc])].name for ends in (topology.arc_source, topology.arc_target))  # type: ignore[return-value]


def _crowd(usable: Residual, functions: Sequence[Function], open_to: Sequence[Bools]) -> Cause | None:
    """Functions confined to a set of nodes that ask together for more than it has."""
    for nodes in {mask.tobytes(): mask for mask in open_to}.values():
        inside = [f for f, mask in zip(functions, open_to, strict=True) if not (mask & ~nodes).any()]
        for column, resource in enumerate(RESOURCES):
            demand, free = sum(getattr(f, resource) for f in inside), int(usable.node_free[nodes, column].sum())
            if demand > free:
                names = ", ".join(function.name for function in inside[:3]) + ("…" if len(inside) > 3 else "")
                need = f"{len(inside)} functions ({names}) need {demand} {UNITS[resource]} in all"
                classes = {function.compute_class for function in inside}
                one = classes.pop() if len(classes) == 1 else None
                text = f"{need}, the nodes open to them have {free} free"
                return Cause(text, compute_class=one, resource=resource)
    return None
