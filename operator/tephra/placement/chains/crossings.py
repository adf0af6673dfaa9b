"""The paths of a chain that is placed: every channel between two hosts, with bandwidth for all together.

Each channel alone takes the cheapest path that has room for it, as :mod:`.stages` counted; where channels crowd a
link, all are routed anew, the widest first. Used by :mod:`.segments` and :mod:`.revisits`.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tephra.placement import network
from tephra.placement.chains.runs import State
from tephra.placement.chains.stages import Leg, Stages
from tephra.placement.network import Floats

Ways = dict[int, tuple[int, int]]  # sites that a channel joins, by its place along the chain
Paths = dict[int, list[int]]  # arcs, by the same


class Routed(NamedTuple):
    """A complete placement: arcs of the channels that leave a host, and the objective."""

    state: State
    paths: Paths
    cost: float


def route(stages: Stages, state: State) -> Routed | None:
    """Paths for a complete placement; None where none were found."""
    sites = [int(stages.hosts[run.host]) for run in state.runs]
    places = [*(run.begin for run in state.runs), len(stages.functions)]
    ends = [stages.ends[0], *sites, stages.ends[1]]
    ways = {
        place: (one, other)
        for place, (one, other) in zip(places, pairwise(ends), strict=True)
        if stages.legs[place] is not None and one != other
    }
    paths = {place: _leg(stages, place).routes.path(*way) for place, way in ways.items()}
    if not _fits(stages, paths):
        paths = _reroute(stages, ways)
    if len(paths) < len(ways):
        return None
    crossing = sum(_cost(stages, place, path) for place, path in paths.items())
    return Routed(state, paths, sum(held.cost for held in state.held.values()) + crossing)


def named(stages: Stages, routed: Routed, nodes: list[int]) -> dict[tuple[str, str], tuple[str, ...]]:
    """(source, target) of every channel → names of the sites of its path, both ends included."""
    topology, result = stages.residual.topology, {}
    for place, leg in enumerate(stages.legs):
        if leg is not None:
            site = int(topology.node_site[nodes[min(place, len(nodes) - 1)]])
            path = routed.paths.get(place)
            at = [int(topology.arc_source[path[0]]), *topology.arc_target[path].tolist()] if path else [site]
            result[leg.channel.source, leg.channel.target] = tuple(topology.sites[index].name for index in at)
    return result


def _leg(stages: Stages, place: int) -> Leg:
    leg = stages.legs[place]
    assert leg is not None
    return leg


def _weights(stages: Stages, kbps: int) -> Floats:
    return stages.terms.delay + kbps * stages.terms.kbps


def _cost(stages: Stages, place: int, path: list[int]) -> float:
    return float(_weights(stages, _leg(stages, place).channel.bandwidth_kbps)[path].sum())


def _fits(stages: Stages, paths: Paths) -> bool:
    free = stages.residual.pool_free.copy()
    for place, path in paths.items():
        np.subtract.at(free, stages.residual.topology.arc_pool[path], _leg(stages, place).channel.bandwidth_kbps)
    return bool((free >= 0).all())


def _reroute(stages: Stages, ways: Ways) -> Paths:
    """Channel by channel, the widest first, on what those before have left; stops at one that finds no way."""
    topology, free, paths = stages.residual.topology, stages.residual.pool_free.copy(), Paths()
    for place in sorted(ways, key=lambda place: -_leg(stages, place).channel.bandwidth_kbps):
        kbps = _leg(stages, place).channel.bandwidth_kbps
        weights = np.where(free[topology.arc_pool] >= kbps, _weights(stages, kbps), np.inf)
        found = network.fresh(topology, weights)
        if not found.reaches(*ways[place]):
            break
        paths[place] = found.path(*ways[place])
        np.subtract.at(free, topology.arc_pool[paths[place]], kbps)
    return paths
