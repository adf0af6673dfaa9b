"""From a request, a residual and a policy to the :class:`Instance` that solvers search over.

Capacities are less the headroom of the policy; what may run where is settled here, once. Used by :mod:`.beam`,
:mod:`.exact` and :mod:`.lns`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from tephra.placement import objective, routes
from tephra.placement.graphs.instance import (
    NONE,
    Bools,
    Floats,
    Flow,
    Group,
    Instance,
    Limit,
    conflicts,
    members,
    on_network,
    padded,
)
from tephra.placement.model import Function, Ints, Policy, Request
from tephra.placement.residual import Residual
from tephra.placement.topology import Capacity, Link, Topology


def formulate(residual: Residual, request: Request, policy: Policy) -> Instance:
    """The arrays of a request; ValueError where the request names a site or node the topology does not have."""
    topology, usable = residual.topology, residual.with_headroom(policy)
    functions, asked = request.functions, tuple((function, request.tenant) for function in request.functions)
    demand = np.array([(function.cpu_m, function.memory_mib) for function in functions], dtype=np.int64)
    room = (usable.node_free[None] >= demand[:, None]).all(axis=2)
    layers, layer_cost, fetch = _layers(residual, functions, policy)
    adds = objective.terms(residual, request, policy)
    endpoint_site, endpoint_node = _endpoints(topology, request)
    flows, net = _flows(request), _both_ways(topology)
    return Instance(
        topology=net,
        real=np.arange(len(net.arc_source)) < len(topology.arc_source),
        free=usable.node_free,
        pool_free=padded(usable.pool_free, len(net.pool_capacity)),
        demand=demand,
        allowed=_admitted(residual, request) & room,
        adds=on_network(net, adds),
        endpoint_site=endpoint_site,
        endpoint_node=endpoint_node,
        asked=asked,
        conflict=conflicts(asked),
        flows=flows,
        groups=_groups(request),
        limits=() if request.max_path_us is None else (Limit(frozenset(range(len(flows))), request.max_path_us),),
        reverse=_reverse(net),
        layers=layers,
        layer_cost=layer_cost,
        fetch=fetch,
    )


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
    number = {name: index for index, name in enumerate(members(request))}
    asked = {(number[item.source], number[item.target]): item.bandwidth_kbps for item in request.channels}
    return tuple(
        Flow(a, b, kbps, asked.get((b, a), NONE)) for (a, b), kbps in asked.items() if a < b or (b, a) not in asked
    )


def _groups(request: Request) -> tuple[Group, ...]:
    names = members(request)
    return tuple(
        Group(tuple(sorted(names.index(name) for name in item.members)), item.scope, item.anti)
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


def _reverse(topology: Topology) -> Ints:
    index: Mapping[tuple[int, int], int] = topology.arc_index
    ends = zip(topology.arc_source.tolist(), topology.arc_target.tolist(), strict=True)
    return np.array([index.get((b, a), NONE) for a, b in ends], dtype=np.int64)


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
