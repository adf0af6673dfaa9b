"""From a node ranking to an embedding: the two-stage mapping of GRC, NRM and RW-MaxMatch, and the coordinated RW-BFS.

All embed one virtual node per substrate node and one unsplit path per virtual link, as the papers do. They read a
:class:`Free` and never change it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.placement.peers import ranking
from bench.placement.virtual_networks import Substrate, VirtualNetwork

Ranking = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Embedding:
    """The substrate node of each virtual node, and the substrate nodes along the path of each virtual link."""

    nodes: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class Free:
    """What is left of a substrate: CPU [n] and bandwidth [n, n], symmetric, zero where there is no link."""

    cpu: NDArray[np.int64]
    bandwidth: NDArray[np.int64]

    @classmethod
    def of(cls, network: Substrate | VirtualNetwork) -> "Free":
        """Everything a substrate has, or a virtual network asks for."""
        bandwidth = np.zeros((len(network.cpu), len(network.cpu)), dtype=np.int64)
        u, v = network.links.T
        bandwidth[u, v] = bandwidth[v, u] = network.bandwidth
        return cls(network.cpu.copy(), bandwidth)


def two_stage(rank: Ranking, free: Free, request: VirtualNetwork) -> Embedding | None:
    """Nodes first, in order of rank, each on the best-ranked node with enough CPU; then the links by shortest paths.

    With :func:`ranking.global_resource_capacity` this is GRC-VNE, with :func:`ranking.node_resource_metric` NRM-VNE,
    with :func:`ranking.random_walk` RW-MaxMatch. The first of the k shortest paths with enough bandwidth, k growing, is
    the shortest path among the links with enough bandwidth.
    """
    asked = Free.of(request)
    nodes = _largest_to_largest(
        rank(request.cpu.astype(float), asked.bandwidth.astype(float)),
        rank(free.cpu.astype(float), free.bandwidth.astype(float)),
        request.cpu,
        free.cpu,
    )
    return None if nodes is None else _with_paths(free, request, nodes)


def rw_bfs(free: Free, request: VirtualNetwork, max_hop: int = 3) -> Embedding | None:
    """RW-BFS (Cheng et al., §4.2): nodes and links together, along a breadth-first tree of the virtual network.

    The root, the node of largest rank, tries the substrate nodes in order of rank; every other node those within
    `max_hop` hops of its parent's, nearest first and by rank among equals. A node without candidate backtracks to the
    one before; after 3 n backtracks (the paper's bound, n the virtual nodes) the request is refused.
    """
    asked = Free.of(request)
    own = ranking.random_walk(request.cpu.astype(float), asked.bandwidth.astype(float))
    order, parents = _breadth_first(asked.bandwidth, own)
    worth = ranking.random_walk(free.cpu.astype(float), free.bandwidth.astype(float))
    search = _Search(request, asked, worth, order, parents, max_hop, 3 * len(order))
    placed = search.extend(free, {}, {})
    if placed is None:
        return None
    nodes, paths = placed
    return Embedding(tuple(nodes[i] for i in range(len(nodes))), tuple(paths[u, v] for u, v in request.links.tolist()))


Placed = tuple[dict[int, int], dict[tuple[int, int], tuple[int, ...]]]


@dataclass(slots=True)
class _Search:
    """The backtracking of RW-BFS: one level per virtual node in breadth-first order."""

    request: VirtualNetwork
    asked: Free
    worth: NDArray[np.float64]
    order: list[int]
    parents: dict[int, int]
    max_hop: int
    backtracks_left: int

    def extend(self, free: Free, nodes: dict[int, int], paths: dict[tuple[int, int], tuple[int, ...]]) -> Placed | None:
        """Place the next virtual node and those after it; None when that fails or the backtracks are used up."""
        if len(nodes) == len(self.order):
            return nodes, paths
        virtual = self.order[len(nodes)]
        for substrate in self._candidates(free, nodes, virtual):
            if (joined := self._join(free, nodes, virtual, substrate)) is not None:
                rest, routed = joined
                if (done := self.extend(rest, nodes | {virtual: substrate}, paths | routed)) is not None:
                    return done
            if self.backtracks_left <= 0:
                return None
        self.backtracks_left -= 1
        return None

    def _candidates(self, free: Free, nodes: dict[int, int], virtual: int) -> Iterator[int]:
        fit = free.cpu >= self.request.cpu[virtual]
        fit[list(nodes.values())] = False
        if virtual not in self.parents:
            yield from _by_rank(np.flatnonzero(fit), self.worth)
            return
        parent = self.parents[virtual]
        usable = free.bandwidth >= self.asked.bandwidth[parent, virtual]
        for ring in _rings(usable, nodes[parent], self.max_hop):
            yield from _by_rank(ring[fit[ring]], self.worth)

    def _join(
        self, free: Free, nodes: dict[int, int], virtual: int, substrate: int
    ) -> tuple[Free, dict[tuple[int, int], tuple[int, ...]]] | None:
        """Reserve the node and a path to every placed neighbour; what is left and the paths, or None."""
        rest, routed = Free(free.cpu.copy(), free.bandwidth.copy()), dict[tuple[int, int], tuple[int, ...]]()
        rest.cpu[substrate] -= self.request.cpu[virtual]
        for other in np.flatnonzero(self.asked.bandwidth[virtual]).tolist():
            if other in nodes:
                demand = int(self.asked.bandwidth[virtual, other])
                u, v = min(virtual, other), max(virtual, other)
                ends = (substrate, nodes[other]) if u == virtual else (nodes[other], substrate)
                if (path := shortest_path(rest.bandwidth >= demand, *ends)) is None:
                    return None
                _reserve(rest.bandwidth, path, demand)
                routed[u, v] = path
        return rest, routed


def shortest_path(usable: NDArray[np.bool_], source: int, target: int) -> tuple[int, ...] | None:
    """The path of fewest hops over the usable links [n, n], breadth-first; lowest node numbers among equals."""
    before = np.full(len(usable), -1)
    before[source] = source
    ring = np.array([source])
    while before[target] < 0 and len(ring):
        links = usable[ring]
        reached = np.flatnonzero(links.any(axis=0) & (before < 0))
        before[reached] = ring[links[:, reached].argmax(axis=0)]
        ring = reached
    if before[target] < 0:
        return None
    path = [target]
    while path[-1] != source:
        path.append(int(before[path[-1]]))
    return tuple(reversed(path))


def _largest_to_largest(
    asked_rank: NDArray[np.float64], rank: NDArray[np.float64], asked: NDArray[np.int64], cpu: NDArray[np.int64]
) -> tuple[int, ...] | None:
    """Virtual nodes from the largest rank down, each on the free substrate node of largest rank with enough CPU."""
    nodes, used = np.zeros(len(asked), dtype=np.int64), np.zeros(len(cpu), dtype=bool)
    for virtual in _by_rank(np.arange(len(asked)), asked_rank):
        fit = np.flatnonzero((cpu >= asked[virtual]) & ~used)
        if not len(fit):
            return None
        nodes[virtual] = _by_rank(fit, rank)[0]
        used[nodes[virtual]] = True
    return tuple(nodes.tolist())


def _with_paths(free: Free, request: VirtualNetwork, nodes: tuple[int, ...]) -> Embedding | None:
    """Route the virtual links in order of bandwidth, largest first, each on what those before it left."""
    left, paths = free.bandwidth.copy(), dict[int, tuple[int, ...]]()
    for link in np.argsort(-request.bandwidth, kind="stable").tolist():
        u, v = request.links[link].tolist()
        demand = int(request.bandwidth[link])
        if (path := shortest_path(left >= demand, nodes[u], nodes[v])) is None:
            return None
        _reserve(left, path, demand)
        paths[link] = path
    return Embedding(nodes, tuple(paths[link] for link in range(len(paths))))


def _breadth_first(linked: NDArray[np.int64], rank: NDArray[np.float64]) -> tuple[list[int], dict[int, int]]:
    """The virtual nodes in breadth-first order from the largest rank, siblings by rank; and the parent of each."""
    order, parents = [_by_rank(np.arange(len(rank)), rank)[0]], dict[int, int]()
    for parent in order:
        for child in _by_rank(np.flatnonzero(linked[parent]), rank):
            if child not in parents and child != order[0]:
                parents[child] = parent
                order.append(child)
    return order, parents


def _rings(usable: NDArray[np.bool_], source: int, hops: int) -> Iterator[NDArray[np.int64]]:
    """The nodes at one hop, two hops, ... of the source."""
    seen = np.zeros(len(usable), dtype=bool)
    seen[source] = True
    ring = np.array([source])
    for _ in range(hops):
        ring = np.flatnonzero(usable[ring].any(axis=0) & ~seen)
        seen[ring] = True
        yield ring


def _by_rank(nodes: NDArray[np.int64], rank: NDArray[np.float64]) -> list[int]:
    """The nodes from the largest rank down; equal ranks by number."""
    ordered: list[int] = nodes[np.argsort(-rank[nodes], kind="stable")].tolist()
    return ordered


def _reserve(bandwidth: NDArray[np.int64], path: tuple[int, ...], demand: int) -> None:
    """Take `demand` off every link of the path, in both directions of the matrix: the capacity is shared."""
    for u, v in pairwise(path):
        bandwidth[u, v] -= demand
        bandwidth[v, u] -= demand
