"""The objective of :mod:`.model` as arrays, for solvers: what each choice adds, on a residual as it is before.

:mod:`.check` computes the same sum on its own, by names; the tests hold the two against each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tephra.placement.model import Function, Image, Policy, Request, Topology
from tephra.placement.residual import Residual, arcs_of

Floats = NDArray[np.float64]
Paths = Mapping[tuple[str, str], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Terms:
    """What choices add: F functions in the order of the request, N nodes, S sites, P pools, A arcs."""

    place: Floats  # (F, N) a function on a node: bid price, watts of its CPU, the move
    wake: Floats  # (N,) the first function on a node that sleeps
    opening: Floats  # (S,) the first function at a site
    delay: Floats  # (A,) a channel across an arc
    kbps: Floats  # (A,) each kbit/s across an arc


def terms(residual: Residual, request: Request, policy: Policy) -> Terms:
    """The terms of the objective for a request; pulls are per node and set of images: :meth:`Residual.missing_mib`."""
    topology = residual.topology
    free, whole = _by_site(topology, residual.node_free), _by_site(topology, topology.node_capacity)
    share = _over(free, whole)  # (S, 2)
    bid = policy.acceptance * _over(policy.price_base ** (1 - share) - 1, whole)  # (S, 2) per millicore and per MiB
    demand = np.array([(function.cpu_m, function.memory_mib) for function in request.functions], float)  # (F, 2)
    span = np.array([node.power.peak - node.power.idle for node in topology.nodes])
    per_cpu = policy.watts * _over(span, topology.node_capacity[:, 0].astype(float))  # (N,)
    asleep = np.array([not residual.awake(index) for index in range(len(topology.nodes))], bool)
    idle = np.array([node.power.idle for node in topology.nodes])
    used = 1 - _over(residual.pool_free.astype(float), topology.pool_capacity.astype(float))
    return Terms(
        place=demand @ bid[topology.node_site].T + demand[:, :1] * per_cpu + _moves(topology, request, policy),
        wake=policy.watts * np.where(asleep, idle, 0.0),
        opening=policy.opening * 100 * share[:, 0],
        delay=policy.latency * topology.arc_delay.astype(float),
        kbps=policy.traffic * (policy.price_base**used)[topology.arc_pool],
    )


def total(residual: Residual, request: Request, policy: Policy, assignment: Mapping[str, str], paths: Paths) -> float:
    """The objective of functions on nodes and channels on paths, which must exist."""
    cost, topology = terms(residual, request, policy), residual.topology
    at = [topology.node_index[assignment[function.name]] for function in request.functions]
    nodes = sorted(set(at))
    value = float(cost.place[np.arange(len(at)), at].sum() + cost.wake[nodes].sum())
    value += float(cost.opening[sorted(set(topology.node_site[nodes].tolist()))].sum())
    for node in nodes if policy.pull else ():
        here = (function for function, place in zip(request.functions, at, strict=True) if place == node)
        value += policy.pull * residual.missing_mib(node, images(here))
    for channel in request.channels:
        arcs = arcs_of(topology, paths[channel.source, channel.target])
        value += float(cost.delay[arcs].sum() + channel.bandwidth_kbps * cost.kbps[arcs].sum())
    return value


def images(functions: Iterable[Function]) -> tuple[Image, ...]:
    """The images of functions that have one."""
    return tuple(function.image for function in functions if function.image is not None)


def _moves(topology: Topology, request: Request, policy: Policy) -> Floats:
    """(F, N) what it costs that a function does not stay where it runs."""
    moves = np.zeros((len(request.functions), len(topology.nodes)))
    for row, function in enumerate(request.functions):
        running = request.running.get(function.name)
        if running is not None:
            moves[row] = policy.disruption * function.memory_mib
            if running in topology.node_index:
                moves[row, topology.node_index[running]] = 0.0
    return moves


def _by_site(topology: Topology, of_nodes: NDArray[np.int64]) -> Floats:
    """(N, 2) summed over the nodes of each site: (S, 2)."""
    sums = np.zeros((len(topology.sites), 2))
    np.add.at(sums, topology.node_site, of_nodes)
    return sums


def _over(part: Floats, whole: Floats) -> Floats:
    """part / whole, 0 where the whole is 0 (there nothing fits, so that no price is asked)."""
    share: Floats = np.divide(part, whole, out=np.zeros_like(part, dtype=float), where=whole != 0)
    return share
