"""Instances of rows 1, 3 and 4: subscriptions that arrive on backbones with data centres. Frozen; seeds are arguments.

Functions, classes, users and channels are those of :mod:`tephra.placement.generate`. A proximity class is only sold to
a user where some data centre is within it: a tighter one is raised to the tightest that is. Neighbours: `speed`,
`acceptance` and `scale` read these.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from tephra.placement import Request, Residual, Topology, generate
from tephra.placement.simulate import Arrival
from tephra.placement.sources import topology_zoo

SPEED_SEEDS = range(100, 130)  # row 1; the exact model sees the first few
ACCEPTANCE_SEEDS = range(200, 212)  # row 3
LENGTHS = (6, 20, 60)
LOAD = 0.9
SCALE_SEED = 300  # row 4


def zoo(name: str) -> Topology:
    """A topology of the Internet Topology Zoo from the shared data; FileNotFoundError says where it was looked for."""
    root = Path(__file__).resolve().parents[2]
    data = Path(os.environ.get("TEPHRA_SHARED_DATA", root.parent / "shared" / "data"))
    return topology_zoo.parse((data / "topologies" / f"{name}.graphml").read_text())


def subscription(seed: int, loaded: bool, length: int = 60) -> tuple[Residual, Request]:
    """Row 1: a chain on Interoute with 20 data centres of 150 cores, empty or 75 to 100 % full."""
    rng = np.random.default_rng([seed, length])
    topology = generate.with_data_centres(rng, zoo("Interoute"))
    request = offered_classes(topology, [generate.chain(rng, f"chain-{seed}", topology, length)])[0]
    return generate.loaded(rng, topology) if loaded else Residual.of(topology), request


def day(seed: int, length: int, servers: int = 5, chains: int = 100) -> tuple[Topology, tuple[Request, ...]]:
    """Row 3: `chains` subscriptions on Interoute with 20 data centres of `servers` equal servers, sized so that they
    ask for 90 % of all CPU and of all memory."""
    rng = np.random.default_rng([seed, length, servers])
    topology = generate.with_data_centres(rng, zoo("Interoute"), servers=servers)
    topology, requests = generate.offered(rng, topology, chains, length, LOAD)
    return topology, offered_classes(topology, requests)


def backbone(name: str) -> Topology:
    """Row 4: GtsCe, or "waxman-N", a generated network of N sites as sparse as a backbone."""
    if not name.startswith("waxman-"):
        return zoo(name)
    sites = int(name.removeprefix("waxman-"))
    return generate.waxman(np.random.default_rng([SCALE_SEED, sites]), sites, alpha=6 / sites)


def stream(
    backbone_name: str, data_centres: int, lengths: Sequence[int], count: int, in_force: int
) -> tuple[Topology, tuple[Arrival, ...]]:
    """Row 4: `count` arrivals of chains of these lengths in turn, Poisson, with exponential lifetimes such that
    `in_force` of them at a time ask for 80 % of all CPU and memory."""
    rng = np.random.default_rng([SCALE_SEED, data_centres, count, *lengths])
    topology = generate.with_data_centres(rng, backbone(backbone_name), data_centres)
    requests = [generate.chain(rng, f"chain-{n}", topology, lengths[n % len(lengths)]) for n in range(count)]
    requests = list(offered_classes(topology, requests))
    topology = _resized(topology, requests, in_force / count / 0.8)
    times = np.cumsum(rng.exponential(1.0, count)).tolist()
    lives = rng.exponential(float(in_force), count).tolist()
    return topology, tuple(
        Arrival(at, request, at + life) for at, request, life in zip(times, requests, lives, strict=True)
    )


def offered_classes(topology: Topology, requests: Sequence[Request]) -> tuple[Request, ...]:
    """The requests with every maximum delay raised to a class that some data centre meets for that user."""
    nearest = _nearest(topology)
    return tuple(_raised(request, nearest[topology.site_index[request.endpoints[0].site]]) for request in requests)


def _raised(request: Request, nearest: float) -> Request:
    classes = [bound for bound in generate.CLASSES_US if bound is None or bound >= nearest]
    functions = tuple(
        function
        if function.max_delay_us is None or function.max_delay_us >= nearest
        else replace(function, max_delay_us=classes[0])
        for function in request.functions
    )
    return replace(request, functions=functions)


def _nearest(topology: Topology) -> NDArray[np.float64]:
    """(S,) microseconds from every site to the data centre nearest to it."""
    size = len(topology.sites)
    graph = csr_array(
        (topology.arc_delay.astype(float), (topology.arc_target, topology.arc_source)), shape=(size, size)
    )
    distance: NDArray[np.float64] = dijkstra(graph, indices=np.unique(topology.node_site), min_only=True)
    return distance


def _resized(topology: Topology, requests: Sequence[Request], factor: float) -> Topology:
    """The topology with its servers alike, so that their sum is `factor` of what the requests ask for."""
    functions = [function for request in requests for function in request.functions]
    share = factor / len(topology.nodes)
    cpu_m = round(sum(function.cpu_m for function in functions) * share)
    memory_mib = round(sum(function.memory_mib for function in functions) * share)
    sites = [
        replace(site, nodes=tuple(replace(node, cpu_m=cpu_m, memory_mib=memory_mib) for node in site.nodes))
        for site in topology.sites
    ]
    return Topology(tuple(sites), topology.links)
