"""Instances of row 8: substrate networks and the virtual networks that arrive on them. Frozen; seeds are arguments.

The setting is the one common to the papers of the peers (Cheng et al., CCR 2011; Gong et al., INFOCOM 2014): capacities
uniform in 50..100, virtual networks of 2..10 nodes whose pairs are linked with probability 0.5, arrivals Poisson,
lifetimes exponential. Everything is an integer, so that exact solvers and floating-point heuristics see one instance.
Neighbours: `peers` and :mod:`bench.placement.general_graphs` read these; nothing here imports the product.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Pairs = NDArray[np.int64]

REQUESTS = 1000
LIFETIME = 1000.0
WAXMAN_RATES, GEANT_RATES = (0.05, 0.1), (0.02, 0.04)  # the papers' load, and twice that
SEEDS = (11, 12, 13)
_KM = 3000.0  # side of the square the nodes lie in
_US_PER_KM = 5.0


@dataclass(frozen=True, slots=True)
class Substrate:
    """Undirected: node CPU [n], links [m, 2] with u < v, bandwidth [m] shared by both directions, delay [m] in µs."""

    name: str
    cpu: Integers
    links: Pairs
    bandwidth: Integers
    delay: Integers


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    """A connected request: node CPU [k], links [l, 2] with u < v, bandwidth [l]; arrives and departs at these times."""

    name: str
    cpu: Integers
    links: Pairs
    bandwidth: Integers
    arrival: float
    departure: float

    @property
    def revenue(self) -> int:
        """CPU plus bandwidth asked for: what the papers call the revenue of a request (per unit of time)."""
        return int(self.cpu.sum() + self.bandwidth.sum())


def waxman(seed: int, nodes: int = 100, alpha: float = 0.5, beta: float = 0.2) -> Substrate:
    """A random network after Waxman (JSAC 1988): P(u, v) = alpha exp(-d(u, v) / (beta diagonal)), made connected."""
    random = np.random.default_rng([seed, nodes, 1])
    distance = _distances(random.random((nodes, 2)))
    chance = alpha * np.exp(-distance / (beta * np.sqrt(2)))
    linked = np.triu(random.random((nodes, nodes)) < chance, 1)
    linked |= linked.T
    _connect(linked, distance)
    return _substrate(f"waxman-{nodes}", linked, distance, random, (50, 100))


def geant_like(seed: int, nodes: int = 40, links: int = 61) -> Substrate:
    """A sparse backbone with the size of the pan-European research network: a spanning tree, then the best short cuts.

    Each extra link joins the pair whose way through the network is longest compared with the straight line, which is
    how such backbones gain their rings. Links are wide (200..400) because there are few of them.
    """
    random = np.random.default_rng([seed, nodes, 2])
    distance = _distances(random.random((nodes, 2)))
    linked = np.zeros((nodes, nodes), dtype=bool)
    _connect(linked, distance)
    for _ in range(links - (nodes - 1)):
        detour = _shortest(np.where(linked, distance, np.inf)) / np.where(distance > 0, distance, np.inf)
        u, v = np.unravel_index(np.argmax(np.where(linked, 0.0, detour)), linked.shape)
        linked[u, v] = linked[v, u] = True
    return _substrate(f"geant-like-{nodes}", linked, distance, random, (200, 400))


def arrivals(seed: int, rate: float, count: int = REQUESTS, lifetime: float = LIFETIME) -> list[VirtualNetwork]:
    """`count` virtual networks in order of arrival; `rate` per unit of time (Poisson), exponential `lifetime`."""
    random = np.random.default_rng([seed, count, 3])
    times = np.cumsum(random.exponential(1 / rate, count))
    return [_virtual(f"vn-{i}", random, float(times[i]), float(random.exponential(lifetime))) for i in range(count)]


def _virtual(name: str, random: np.random.Generator, arrival: float, lifetime: float) -> VirtualNetwork:
    """2..10 nodes with CPU 1..20; pairs linked with probability 0.5, bandwidth 1..50; components joined at random."""
    nodes = int(random.integers(2, 11))
    linked = np.triu(random.random((nodes, nodes)) < 0.5, 1)
    linked |= linked.T
    _connect(linked, random.random((nodes, nodes)))
    links = np.argwhere(np.triu(linked, 1))
    cpu, bandwidth = random.integers(1, 21, nodes), random.integers(1, 51, len(links))
    return VirtualNetwork(name, cpu, links, bandwidth, arrival, arrival + lifetime)


def _substrate(
    name: str,
    linked: NDArray[np.bool_],
    distance: NDArray[np.float64],
    random: np.random.Generator,
    wide: tuple[int, int],
) -> Substrate:
    links = np.argwhere(np.triu(linked, 1))
    cpu = random.integers(50, 101, len(linked))
    bandwidth = random.integers(wide[0], wide[1] + 1, len(links))
    delay = (50 + distance[links[:, 0], links[:, 1]] * _KM * _US_PER_KM).astype(np.int64)
    return Substrate(name, cpu, links, bandwidth, delay)


def _distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))


def _connect(linked: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
    """Join the components in place, each time by the lightest pair that joins node 0's component to another (Prim)."""
    while not (inside := _component(linked)).all():
        joins = np.where(np.outer(inside, ~inside), weight, np.inf)
        u, v = np.unravel_index(np.argmin(joins), joins.shape)
        linked[u, v] = linked[v, u] = True


def _component(linked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The nodes that node 0 reaches."""
    inside = np.zeros(len(linked), dtype=bool)
    inside[0] = True
    while (grown := inside | linked[inside].any(axis=0)).sum() > inside.sum():
        inside = grown
    return inside


def _shortest(length: NDArray[np.float64]) -> NDArray[np.float64]:
    """All-pairs shortest distances (Floyd, Warshall)."""
    length = length.copy()
    np.fill_diagonal(length, 0)
    for middle in range(len(length)):
        length = np.minimum(length, length[:, middle, None] + length[None, middle])
    return length
