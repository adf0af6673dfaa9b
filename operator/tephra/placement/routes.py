"""Many shortest-path trees at once, each with weights of its own, on the arcs of a topology.

The searches of :mod:`.beam` and :mod:`.exact` ask for the cheapest way from hundreds of places under hundreds of
different weights (what is free, and what a path costs, depends on the partial map and on the channel), so that one
heap-driven search after another would cost more than everything else. Bellman–Ford rounds over whole matrices answer
all rows together; a round costs rows × arcs, and as many rounds run as the longest best path has hops.
"""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from tephra.placement.model import Ints, Topology

Floats = NDArray[np.float64]

HOP = 1e-9  # share of the largest weight added to every arc: no path winds through arcs of weight 0, the shorter of
# two equals wins, and sums stay far above the precision of a float


class _ByTarget(NamedTuple):
    order: Ints  # (A,) arcs in order of their target
    sources: Ints  # (A,) their sources
    starts: Ints  # (T,) where the arcs of each target begin
    targets: Ints  # (T,) the sites that have arcs in


_known: WeakKeyDictionary[Topology, _ByTarget] = WeakKeyDictionary()


def distances(topology: Topology, sources: Ints, weights: Floats) -> Floats:
    """The least weight from `sources` (R,) to every site, (R, S), row r under `weights[r]` of (R, A); inf unreached."""
    arcs = _by_target(topology)
    found = np.full((len(sources), len(topology.sites)), np.inf)
    found[np.arange(len(sources)), sources] = 0.0
    if not len(arcs.order):
        return found
    largest = np.max(weights, initial=0.0, where=np.isfinite(weights))
    sorted_weights = weights[:, arcs.order] + HOP * (1.0 + largest)
    while True:
        through = np.minimum.reduceat(found[:, arcs.sources] + sorted_weights, arcs.starts, axis=1)
        better = np.minimum(found[:, arcs.targets], through)
        if (better == found[:, arcs.targets]).all():
            return found
        found[:, arcs.targets] = better


def path_back(topology: Topology, found: Floats, weights: Floats, target: int) -> list[int] | None:
    """The arcs of the best path to `target`, by one row of :func:`distances` and its weights (A,); None unreached."""
    if not np.isfinite(found[target]):
        return None
    arcs, path = _by_target(topology), list[int]()
    while found[target] > 0:
        at = int(np.searchsorted(arcs.targets, target))
        end = arcs.starts[at + 1] if at + 1 < len(arcs.starts) else len(arcs.order)
        into = arcs.order[arcs.starts[at] : end]
        path.append(int(into[np.argmin(found[topology.arc_source[into]] + weights[into])]))
        target = int(topology.arc_source[path[-1]])
    return path[::-1]


def _by_target(topology: Topology) -> _ByTarget:
    if topology not in _known:
        order = np.argsort(topology.arc_target, kind="stable")
        targets, starts = np.unique(topology.arc_target[order], return_index=True)
        _known[topology] = _ByTarget(order, topology.arc_source[order], starts, targets)
    return _known[topology]
