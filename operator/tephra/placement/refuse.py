"""Why a request cannot be placed: what stopped it, as far as it can be proved.

:func:`cause` looks for what no placement can get round, from the particular to the general: a function that no node can
take (its class, its sites, its delay, its isolation, room for it alone), a channel that no path can carry, functions
that together ask for more than the nodes open to them have. What it finds is a proof; when it finds nothing, the pieces
fit one by one and only not together. Used by :mod:`.solve`, beside :mod:`.relax`.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tephra.placement.model import Function, Policy, Request, Topology
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
    return _thin_channel(usable, request, open_to) or _crowd(usable, request, open_to)


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


def _thin_channel(usable: Residual, request: Request, open_to: Sequence[Bools]) -> Cause | None:
    """A channel whose ends cannot share a site, and that no path between the sites open to them can carry alone."""
    at: dict[str, set[int]] = {
        function.name: set(usable.topology.node_site[nodes].tolist())
        for function, nodes in zip(request.functions, open_to, strict=True)
    }
    at |= {endpoint.name: {usable.topology.site_index[endpoint.site]} for endpoint in request.endpoints}
    for channel in request.channels:
        width, link = _widest(usable, at[channel.source], at[channel.target])
        if width < channel.bandwidth_kbps or width == -1:
            ends = f"{channel.source!r} → {channel.target!r}"
            what = f"link {link[0]} - {link[1]} has {width:.0f} free at best" if link else "no links join their sites"
            text = f"the channel {ends} needs {channel.bandwidth_kbps} kbit/s, but {what}"
            return Cause(
                text if link else f"the channel {ends} has no path: {what}", resource="bandwidth_kbps", link=link
            )
    return None


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


def _crowd(usable: Residual, request: Request, open_to: Sequence[Bools]) -> Cause | None:
    """Functions confined to a set of nodes that ask together for more than it has."""
    for nodes in {mask.tobytes(): mask for mask in open_to}.values():
        inside = [f for f, mask in zip(request.functions, open_to, strict=True) if not (mask & ~nodes).any()]
        for column, resource in enumerate(RESOURCES):
            demand, free = sum(getattr(f, resource) for f in inside), int(usable.node_free[nodes, column].sum())
            if demand > free:
                names = ", ".join(function.name for function in inside[:3]) + ("…" if len(inside) > 3 else "")
                text = (
                    f"{len(inside)} functions ({names}) need {demand} {UNITS[resource]} in all, the nodes open to them"
                )
                classes = {function.compute_class for function in inside}
                one = classes.pop() if len(classes) == 1 else None
                return Cause(f"{text} have {free} free", compute_class=one, resource=resource)
    return None
