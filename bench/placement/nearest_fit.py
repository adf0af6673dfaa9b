"""The baseline of row 3: every function at the nearest site with room, as simple orchestrators do.

Function by function along the chain: of the sites within its class, the one with the least delay from where the
function before it runs; there the first node with room. The channel takes the path of least delay with bandwidth left.
"""

from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from tephra.placement import Placement, Policy, Refusal, Request, Residual, network, objective
from tephra.placement.model import Ints
from tephra.placement.network import anchor_delay


@dataclass(slots=True)
class _Draft:
    """What is taken so far."""

    node_free: Ints
    pool_free: Ints
    assignment: dict[str, str] = field(default_factory=dict)
    paths: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)


def place(residual: Residual, request: Request, policy: Policy) -> Placement | Refusal:
    """A chain whose channels are in order from the anchor, function after function; the first that fits nowhere ends
    it."""
    began, topology = perf_counter(), residual.topology
    draft = _Draft(residual.node_free.copy(), residual.pool_free.copy())
    at = topology.site_index[request.endpoints[0].site]
    delay = anchor_delay(topology, at)
    for function, channel in zip(request.functions, request.channels, strict=True):
        open_arcs = draft.pool_free[topology.arc_pool] >= channel.bandwidth_kbps
        ways = network.routes(topology, np.where(open_arcs, topology.arc_delay, np.inf))
        distance = ways.rows(np.array([at]))[0][topology.node_site]
        room = (draft.node_free >= (function.cpu_m, function.memory_mib)).all(axis=1)
        bound = np.inf if function.max_delay_us is None else function.max_delay_us
        distance = np.where(room & (delay[topology.node_site] <= bound), distance, np.inf)
        node = int(distance.argmin())
        if distance[node] == np.inf:
            return Refusal(request, "no site with room", False, "nearest-fit", (perf_counter() - began) * 1000)
        path = ways.path(at, int(topology.node_site[node]))
        draft.node_free[node] -= (function.cpu_m, function.memory_mib)
        draft.pool_free[topology.arc_pool[path]] -= channel.bandwidth_kbps
        draft.assignment[function.name] = topology.nodes[node].name
        sites = [at, *topology.arc_target[path].tolist()]
        draft.paths[channel.source, channel.target] = tuple(topology.sites[site].name for site in sites)
        at = int(topology.node_site[node])
    value = objective.total(residual, request, policy, draft.assignment, draft.paths)
    spent = (perf_counter() - began) * 1000
    return Placement(request, draft.assignment, draft.paths, value, 0.0, "nearest-fit", spent)
