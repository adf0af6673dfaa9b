"""Random topologies, chains, loads and arrivals for tests and benchmarks; the same for the same generator state.

What the papers leave open is chosen here: functions of {0.5, 1, 2, 4} cores and {0.5, 1, 2, 4, 8} GiB, channels of
1..50 Mbit/s, classes of 3, 8, 15 ms or none that do not tighten along the chain, users at sites without servers.
"""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from tephra.placement.model import (
    Capacity,
    Channel,
    Endpoint,
    Function,
    Link,
    Node,
    Policy,
    Request,
    Site,
    Topology,
)
from tephra.placement.residual import Residual
from tephra.placement.shapes import Shape

CPU_M = (500, 1000, 2000, 4000)
MEMORY_MIB = (512, 1024, 2048, 4096, 8192)
CLASSES_US = (3000, 8000, 15000, None)
KBPS = (1_000, 50_000)
SERVERS, SERVER_CPU_M, SERVER_MIB = 5, 30_000, 51_200  # a data centre of 150 cores and 250 GiB


def with_data_centres(
    rng: Generator,
    topology: Topology,
    count: int = 20,
    servers: int = SERVERS,
    cpu_m: int = SERVER_CPU_M,
    memory_mib: int = SERVER_MIB,
) -> Topology:
    """The topology with servers of that size at `count` random sites and none elsewhere."""
    chosen = set(rng.choice(len(topology.sites), count, replace=False).tolist())

    def rack(site: Site) -> tuple[Node, ...]:
        return tuple(Node(f"{site.name}/{number}", cpu_m, memory_mib) for number in range(servers))

    sites = [replace(site, nodes=rack(site) if index in chosen else ()) for index, site in enumerate(topology.sites)]
    return Topology(tuple(sites), topology.links)


def waxman(
    rng: Generator,
    sites: int,
    side_us: int = 10_000,
    alpha: float = 0.4,
    beta: float = 0.2,
    kbps: int = 10_000_000,
) -> Topology:
    """A Waxman network: sites uniform in a square, a link with probability alpha * exp(-d / (beta * L)), L the
    diagonal; each site is linked to the nearest earlier one, so it is connected. Delay is the distance plus 50 µs.
    The mean degree grows with `sites`: scale alpha by 1 / sites for a network as sparse as a backbone."""
    at = rng.uniform(0, side_us, (sites, 2))
    links = []
    for a in range(1, sites):
        distance = np.hypot(*(at[:a] - at[a]).T)
        near = int(distance.argmin())
        linked = rng.random(a) < alpha * np.exp(-distance / (beta * side_us * math.sqrt(2)))
        for b in np.flatnonzero(linked | (np.arange(a) == near)).tolist():
            links.append(Link(f"s{b}", f"s{a}", 50 + round(float(distance[b])), kbps, Capacity.PER_DIRECTION))
    return Topology(tuple(Site(f"s{index}") for index in range(sites)), tuple(links))


def chain(rng: Generator, name: str, topology: Topology, length: int) -> Request:
    """A chain of `length` functions for a user at a random site without servers (any site if all have some)."""
    access = [site.name for site in topology.sites if not site.nodes] or [site.name for site in topology.sites]
    classes = sorted(rng.integers(len(CLASSES_US), size=length).tolist())
    functions = tuple(
        Function(
            f"f{index}",
            int(rng.choice(CPU_M)),
            int(rng.choice(MEMORY_MIB)),
            max_delay_us=CLASSES_US[bound],
        )
        for index, bound in enumerate(classes)
    )
    members = ("user", *(function.name for function in functions))
    channels = tuple(Channel(one, other, int(rng.integers(KBPS[0], KBPS[1] + 1))) for one, other in pairwise(members))
    user = Endpoint("user", access[int(rng.integers(len(access)))])
    return Request(name, Shape.CHAIN, functions, channels, (user,), "user")


def loaded(rng: Generator, topology: Topology, low: float = 0.75, high: float = 1.0, spread: float = 0.1) -> Residual:
    """A residual whose sites are full to a share in [low, high], their servers within `spread` of it."""
    share = rng.uniform(low, high, len(topology.sites))[topology.node_site]
    share = np.clip(share + rng.uniform(-spread, spread, len(topology.nodes)), 0, 1)
    free = np.floor(topology.node_capacity * (1 - share)[:, None]).astype(np.int64)
    free.setflags(write=False)
    whole = Residual.of(topology)
    return Residual(topology, free, whole.pool_free, whole.guests)


def offered(
    rng: Generator, topology: Topology, chains: int, length: int, load: float = 0.9
) -> tuple[Topology, tuple[Request, ...]]:
    """`chains` arrivals, and the topology with its servers resized, alike, so that the arrivals ask for the share
    `load` of all CPU and of all memory."""
    arrivals = tuple(chain(rng, f"chain-{number}", topology, length) for number in range(chains))
    demand = [sum(getattr(f, of) for request in arrivals for f in request.functions) for of in ("cpu_m", "memory_mib")]
    cpu_m, memory_mib = (math.ceil(total / load / len(topology.nodes)) for total in demand)
    sites = [
        replace(site, nodes=tuple(replace(node, cpu_m=cpu_m, memory_mib=memory_mib) for node in site.nodes))
        for site in topology.sites
    ]
    return Topology(tuple(sites), topology.links), arrivals


def instance(rng: Generator, topology: Topology | None = None) -> tuple[Residual, Request, Policy]:
    """A small problem that exact solvers can prove: a chain of 3 to 30 functions on a partly full topology (a sparse
    Waxman network of 12 to 40 sites if none is given) with 4 to 12 data centres of 1 to 3 servers. In every fourth on
    average links are so thin that bandwidth binds; the policy has opening costs, bid prices, both or none."""
    if topology is None:
        sites = int(rng.integers(12, 41))
        kbps = int(rng.choice((100_000, 10_000_000, 10_000_000, 10_000_000)))
        topology = waxman(rng, sites, 4000, alpha=6 / sites, kbps=kbps)
    topology = with_data_centres(rng, topology, int(rng.integers(4, 13)), int(rng.integers(1, 4)))
    residual = loaded(rng, topology, 0.5, 1.0)
    request = chain(rng, "chain", topology, int(rng.integers(3, 31)))
    return residual, request, Policy(opening=float(rng.choice((0, 20))), acceptance=float(rng.choice((0, 1000))))
