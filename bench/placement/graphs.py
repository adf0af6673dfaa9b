"""Row 8: virtual networks that come and go on a Waxman and on a GEANT-like network; beam search against the heuristics.

Everyone is given the same arrivals and takes or refuses each as it comes: one virtual node per substrate node, one path
per virtual link. Every embedding, ours or a peer's, is proved by the product's checker. Only the decision is
timed, in CPU time.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from bench.placement.peers import ranking
from bench.placement.peers.mapping import Embedding, Free, rw_bfs, two_stage
from bench.placement.virtual_networks import (
    GEANT_RATES,
    REQUESTS,
    SEEDS,
    WAXMAN_RATES,
    Substrate,
    VirtualNetwork,
    arrivals,
    geant_like,
    waxman,
)
from bench.report import emit, percentile, progress
from tephra.placement import check, simulate
from tephra.placement.graphs import beam
from tephra.placement.model import (
    Affinity,
    Capacity,
    Channel,
    Function,
    Link,
    Node,
    Placement,
    Policy,
    Request,
    Scope,
    Site,
    Topology,
)
from tephra.placement.residual import Residual
from tephra.placement.shapes import Shape
from tephra.placement.simulate import Arrival

OURS = "beam"
PEERS: dict[str, Callable[[Free, VirtualNetwork], Embedding | None]] = {
    "GRC": partial(two_stage, ranking.global_resource_capacity),
    "NRM": partial(two_stage, ranking.node_resource_metric),
    "RW-MaxMatch": partial(two_stage, ranking.random_walk),
    "RW-BFS": rw_bfs,
}
POLICY = Policy(latency=0.0, traffic=1.0, price_base=1.0)  # bandwidth times hops, the cost the papers count


@dataclass(slots=True)
class Tally:
    """What one subject did with the arrivals."""

    offered: int = 0
    accepted: int = 0
    revenue_offered: int = 0
    revenue: int = 0
    cost: int = 0
    seconds: list[float] = field(default_factory=list)

    def count(self, network: VirtualNetwork, placement: Placement | None) -> None:
        """One decision. The cost is what the papers call so: CPU, and bandwidth times hops."""
        self.offered += 1
        self.revenue_offered += network.revenue
        if placement is not None:
            self.accepted += 1
            self.revenue += network.revenue
            kbps = {(channel.source, channel.target): channel.bandwidth_kbps for channel in placement.request.channels}
            self.cost += int(network.cpu.sum())
            self.cost += sum(kbps[ends] * (len(path) - 1) for ends, path in placement.paths.items())

    def add(self, other: "Tally") -> None:
        """Pool another replay."""
        for name in ("offered", "accepted", "revenue_offered", "revenue", "cost", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def figures(self) -> dict[str, float]:
        """The figures of the row, by name."""
        return {
            "accepted": self.accepted / self.offered,
            "revenue / cost": self.revenue / self.cost,
            "revenue taken": self.revenue / self.revenue_offered,
            "mean CPU time": 1000 * sum(self.seconds) / len(self.seconds),
            "p99 CPU time": 1000 * percentile(self.seconds, 99),
        }


def run(quick: bool) -> None:
    """Replay every network at every load with every subject; one row per figure."""
    seeds, count = (SEEDS[:1], 150) if quick else (SEEDS, REQUESTS)
    for network, rates in ((waxman, WAXMAN_RATES), (geant_like, GEANT_RATES)):
        for rate in rates:
            tallies = {name: Tally() for name in (OURS, *PEERS)}
            for seed in seeds:
                substrate, requests = network(seed), arrivals(seed, rate, count)
                for name, tally in tallies.items():
                    tally.add(replay(name, substrate, requests))
                    progress(f"{substrate.name}, {rate:g} arrivals per unit of time, seed {seed}: {name} done")
            _print(f"{substrate.name}, {rate:g}/unit", tallies, len(seeds) * count)


def replay(name: str, substrate: Substrate, requests: Sequence[VirtualNetwork]) -> Tally:
    """Offer the requests in order to one subject; those whose time is over leave before the next arrives."""
    tally, networks = Tally(), {network.name: network for network in requests}

    def place(residual: Residual, request: Request) -> Placement | None:
        network, free = networks[request.name], _free(residual, substrate)
        started = time.thread_time()
        found = beam.place(residual, request, POLICY) if name == OURS else PEERS[name](free, network)
        tally.seconds.append(time.thread_time() - started)
        placement = _placement(name, request, found) if isinstance(found, Embedding) else found
        tally.count(network, placement and check.require(residual, request, POLICY, placement))
        return placement

    coming = (Arrival(network.arrival, request_of(network), network.departure) for network in requests)
    for _ in simulate.replay(Residual.of(topology_of(substrate)), coming, place):
        pass
    return tally


def _free(residual: Residual, substrate: Substrate) -> Free:
    """What is free, as the peers see it; pools are in the order of the links, for every link is shared."""
    free = Free.of(substrate)
    u, v = substrate.links.T
    free.cpu[:] = residual.node_free[:, 0]
    free.bandwidth[u, v] = free.bandwidth[v, u] = residual.pool_free
    return free


def topology_of(substrate: Substrate) -> Topology:
    """The substrate as a topology: a site with one node per substrate node, links whose directions share capacity."""
    sites = tuple(Site(f"n{index}", (Node(f"n{index}", int(cpu), 0),)) for index, cpu in enumerate(substrate.cpu))
    rows = zip(substrate.links.tolist(), substrate.delay.tolist(), substrate.bandwidth.tolist(), strict=True)
    return Topology(sites, tuple(Link(f"n{u}", f"n{v}", delay, kbps, Capacity.SHARED) for (u, v), delay, kbps in rows))


def request_of(network: VirtualNetwork) -> Request:
    """The virtual network as a request whose functions keep to nodes of their own."""
    functions = tuple(Function(f"v{index}", int(cpu), 0) for index, cpu in enumerate(network.cpu))
    rows = zip(network.links.tolist(), network.bandwidth.tolist(), strict=True)
    channels = tuple(Channel(f"v{u}", f"v{v}", kbps) for (u, v), kbps in rows)
    apart = Affinity(frozenset(function.name for function in functions), Scope.NODE, anti=True)
    return Request(network.name, Shape.GRAPH, functions, channels, affinities=(apart,))


def _placement(name: str, request: Request, embedding: Embedding) -> Placement:
    """A peer's embedding, for the checker and the residual; it claims no bound. Under :data:`POLICY` the objective is
    bandwidth times hops."""
    assignment = {function.name: f"n{node}" for function, node in zip(request.functions, embedding.nodes, strict=True)}
    routed = list(zip(request.channels, embedding.paths, strict=True))
    paths = {(channel.source, channel.target): tuple(f"n{node}" for node in path) for channel, path in routed}
    objective = sum(channel.bandwidth_kbps * (len(path) - 1) for channel, path in routed)
    return Placement(request, assignment, paths, objective, 0.0, name, 0.0)


def _print(case: str, tallies: dict[str, Tally], requests: int) -> None:
    """A row per figure: ours, every peer's, the best peer's."""
    figures = {name: tally.figures() for name, tally in tallies.items()}
    for what, value in figures[OURS].items():
        peers = {name: round(figures[name][what], 4) for name in PEERS}
        less_is_better = what.endswith("time")
        best = min(peers, key=peers.__getitem__) if less_is_better else max(peers, key=peers.__getitem__)
        holds = value <= peers[best] if less_is_better else value >= peers[best]
        emit(
            "placement",
            8,
            f"{case}: {what}",
            value,
            "ms" if less_is_better else "ratio",
            peer=best,
            peer_value=peers[best],
            ratio=value / peers[best],
            peers=peers,
            requests=requests,
            bar=f"{'<=' if less_is_better else '>='} every peer",
            holds=holds,
        )
