"""Cheapest paths on the arcs of a topology: rows of a distance matrix, computed when first asked for and kept.

Used by :mod:`.chain` and its tables (:mod:`.stages`). Most requests see the same network: as long as every link has
room for their largest channel, the paths are those of the empty one, and what was computed for one serves the next.
:mod:`.routes` answers another question, many sources under weights that each differ.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from tephra.placement.model import Ints, Topology

Floats = NDArray[np.float64]
KEPT = 16  # weightings kept per topology


class _Rows(NamedTuple):
    """Arcs in the order of a compressed sparse row matrix of S sites."""

    order: Ints  # (A,) arcs by source, then target
    targets: Ints  # (A,)
    starts: Ints  # (S + 1,)


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """Cheapest paths under one weight per arc; inf closes an arc. S sites."""

    graph: csr_array
    arc: dict[tuple[int, int], int]  # (source, target) → arc
    distance: Floats  # (S, S), of the rows known
    before: Ints  # (S, S) the site before each on the path from the row's
    known: NDArray[np.bool_]  # (S,)

    def rows(self, sources: Ints) -> Floats:
        """Distances from `sources` (R,) to every site: (R, S), inf where there is no path."""
        asked = sources[~self.known[sources]]
        if len(asked):
            self.distance[asked], self.before[asked] = dijkstra(self.graph, indices=asked, return_predecessors=True)
            self.known[asked] = True
        rows: Floats = self.distance[sources]
        return rows

    def reaches(self, source: int, target: int) -> bool:
        """Whether there is a path."""
        return bool(np.isfinite(self.rows(np.array([source]))[0, target]))

    def path(self, source: int, target: int) -> list[int]:
        """The arcs of the cheapest path; ValueError where there is none."""
        if not self.reaches(source, target):
            raise ValueError(f"Routes: no path leads from site {source} to site {target}")
        before, arcs = self.before[source], list[int]()
        while target != source:
            near = int(before[target])
            arcs.append(self.arc[near, target])
            target = near
        return arcs[::-1]


_layouts: WeakKeyDictionary[Topology, _Rows] = WeakKeyDictionary()
_kept: WeakKeyDictionary[Topology, OrderedDict[bytes, Routes]] = WeakKeyDictionary()


def routes(topology: Topology, weights: Floats | Ints) -> Routes:
    """Paths under `weights` (A,), from the cache if they were asked for lately."""
    weights = np.asarray(weights, dtype=np.float64)
    cache, key = _kept.setdefault(topology, OrderedDict()), weights.tobytes()
    if key not in cache:
        cache[key] = fresh(topology, weights)
        if len(cache) > KEPT:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]


def fresh(topology: Topology, weights: Floats) -> Routes:
    """Paths under `weights` (A,) that nobody will ask for again."""
    layout, size = _layout(topology), len(topology.sites)
    return Routes(
        graph=csr_array((weights[layout.order], layout.targets, layout.starts), shape=(size, size)),
        arc=dict(topology.arc_index),
        distance=np.empty((size, size)),
        before=np.empty((size, size), dtype=np.int64),
        known=np.zeros(size, dtype=bool),
    )


def anchor_delay(topology: Topology, site: int) -> Floats:
    """(S,) microseconds of the shortest path from a site, over all links that are up: what proximity classes bound."""
    row: Floats = routes(topology, topology.arc_delay).rows(np.array([site]))[0]
    return row


def _layout(topology: Topology) -> _Rows:
    if topology not in _layouts:
        order = np.lexsort((topology.arc_target, topology.arc_source))
        starts = np.searchsorted(topology.arc_source[order], np.arange(len(topology.sites) + 1))
        _layouts[topology] = _Rows(order, topology.arc_target[order], starts.astype(np.int64))
    return _layouts[topology]
