"""Cheapest paths on arcs: closed and one-way links, links of no delay, and what is kept."""

import numpy as np
import pytest

from tephra.placement import Capacity, Link, Site, Topology
from tephra.placement.network import anchor_delay, routes


@pytest.fixture
def ring() -> Topology:
    """a → b → c → a one way, c - d of no delay, e alone."""
    one_way = [Link(a, b, 10, 5, Capacity.ONE_WAY) for a, b in ("ab", "bc", "ca")]
    return Topology(tuple(map(Site, "abcde")), (*one_way, Link("c", "d", 0, 5, Capacity.SHARED)))


def test_distances_and_paths_follow_the_arcs(ring: Topology) -> None:
    found = routes(ring, ring.arc_delay)
    assert found.rows(np.array([0, 3])).tolist() == [[0, 10, 20, 20, np.inf], [10, 20, 0, 0, np.inf]]
    path = found.path(3, 1)
    assert [(int(ring.arc_source[arc]), int(ring.arc_target[arc])) for arc in path] == [(3, 2), (2, 0), (0, 1)]
    assert found.path(1, 1) == []
    assert anchor_delay(ring, 1).tolist() == [20, 0, 10, 10, np.inf]


def test_a_closed_arc_is_not_used_and_no_path_is_an_error(ring: Topology) -> None:
    weights = ring.arc_delay.astype(float)
    weights[ring.arc_index[2, 0]] = np.inf
    found = routes(ring, weights)
    assert found.rows(np.array([2])).tolist() == [[np.inf, np.inf, 0, 0, np.inf]]
    with pytest.raises(ValueError, match="no path leads from site 2 to site 0"):
        found.path(2, 0)


def test_equal_weights_are_answered_from_what_is_kept(ring: Topology) -> None:
    assert routes(ring, ring.arc_delay) is routes(ring, ring.arc_delay.astype(float))
    assert routes(ring, ring.arc_delay) is not routes(ring, ring.arc_delay + 1)
