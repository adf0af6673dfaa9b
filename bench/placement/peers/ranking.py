"""Node rankings of the published heuristics: how much a node is worth, by its own and its surroundings' resources.

Every ranking takes the CPU of each node, ``[n]``, and the bandwidth between each pair, ``[n, n]``, symmetric and zero
where there is no link; of a substrate what is free, of a virtual network what it asks for. It returns one score per
node, ``[n]``. :mod:`bench.placement.peers.mapping` uses them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
TOLERANCE = 1e-5  # the papers' end of the iteration


def global_resource_capacity(
    cpu: Floats, bandwidth: Floats, damping: float = 0.85, tolerance: float = TOLERANCE
) -> Floats:
    """GRC (Gong, Wen, Zhu, Lee, INFOCOM 2014, §III): the fixed point of r = (1 - d) c + d M r, by iteration.

    c is the share of the node in all CPU, and M[u, v] the share of link (u, v) in the bandwidth at v, so that every
    node hands its capacity on to its neighbours in proportion to the links.
    """
    share = damping * _normalised(bandwidth, bandwidth.sum(axis=0)[None, :])
    own = _normalised(cpu, cpu.sum())
    return _fixed_point(lambda rank: (1 - damping) * own + share @ rank, own, tolerance)


def node_resource_metric(cpu: Floats, bandwidth: Floats) -> Floats:
    """NRM (Zhang, Yao, Liu, IEEE IoT Journal 5(5), 2018): the node's resources times the bandwidth of its links.

    The paper also counts storage; no request here asks for any, so it falls out of the node's resources.
    """
    return np.asarray(cpu * bandwidth.sum(axis=1))


def random_walk(cpu: Floats, bandwidth: Floats, jump: float = 0.15, tolerance: float = TOLERANCE) -> Floats:
    """NodeRank (Cheng et al., CCR 41(2), 2011, §3): where a random walk stands that prefers rich nodes.

    H(u) = CPU(u) * bandwidth at u. From u the walk jumps to any node in proportion to its H with probability `jump`,
    and else steps to a neighbour of u in proportion to its H; it starts in proportion to H.
    """
    resources = node_resource_metric(cpu, bandwidth)
    start = _normalised(resources, resources.sum())
    linked = np.where(bandwidth > 0, resources[None, :], 0.0)
    forward = _normalised(linked, linked.sum(axis=1)[:, None])
    return _fixed_point(lambda rank: jump * start * rank.sum() + (1 - jump) * rank @ forward, start, tolerance)


def _fixed_point(step: Callable[[Floats], Floats], start: Floats, tolerance: float) -> Floats:
    """Repeat `step` until it changes the ranks by less than `tolerance` in all."""
    rank = start
    while np.abs((following := step(rank)) - rank).sum() >= tolerance:
        rank = following
    return following


def _normalised(values: Floats, total: Floats | float) -> Floats:
    """`values` / `total`, zero where the total is zero (a node without free links, an exhausted network)."""
    return np.asarray(np.divide(values, total, out=np.zeros_like(values, dtype=float), where=np.asarray(total) > 0))
