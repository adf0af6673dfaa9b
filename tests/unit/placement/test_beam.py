"""Beam search over partial maps, where the best answer is known; that it keeps every rule: tests/properties."""

from dataclasses import replace

import pytest

from tephra.placement import (
    Affinity,
    Capacity,
    Channel,
    Function,
    Link,
    Node,
    Policy,
    Request,
    Residual,
    Scope,
    Shape,
    Site,
    Topology,
    check,
)
from tephra.placement.graphs import beam

TRAFFIC = Policy(latency=0.0, traffic=1.0, price_base=1.0)


def grid(side: int, kbps: int, cpu_m: int = 1) -> Topology:
    """A square grid of sites with one node each."""
    sites = tuple(Site(f"{x},{y}", (Node(f"{x},{y}", cpu_m, 0),)) for x in range(side) for y in range(side))
    right = [Link(f"{x},{y}", f"{x + 1},{y}", 10, kbps, Capacity.SHARED) for x in range(side - 1) for y in range(side)]
    down = [Link(f"{x},{y}", f"{x},{y + 1}", 10, kbps, Capacity.SHARED) for x in range(side) for y in range(side - 1)]
    return Topology(sites, (*right, *down))


def ring(length: int, kbps: int) -> Request:
    """Functions in a ring, a node each."""
    functions = tuple(Function(f"f{number}", 1, 0) for number in range(length))
    channels = tuple(Channel(f"f{number}", f"f{(number + 1) % length}", kbps) for number in range(length))
    apart = Affinity(frozenset(function.name for function in functions), Scope.NODE, anti=True)
    return Request("ring", Shape.GRAPH, functions, channels, affinities=(apart,))


def test_a_ring_finds_a_ring() -> None:
    residual, request = Residual.of(grid(4, 7)), ring(8, 5)
    found = beam.place(residual, request, TRAFFIC)
    assert found is not None
    check.require(residual, request, TRAFFIC, found)
    assert found.objective == 8 * 5  # every channel one hop: no map is cheaper
    assert found.lower_bound == pytest.approx(40)


def test_it_routes_on_what_is_left() -> None:
    """A triangle on four sites in a square, whose links carry two channels each: one channel takes two of them."""
    residual, request = Residual.of(grid(2, 6)), ring(4, 3)
    crossed = replace(request, channels=(*request.channels[:3], Channel("f0", "f2", 3)))
    found = beam.place(residual, crossed, TRAFFIC)
    assert found is not None
    check.require(residual, crossed, TRAFFIC, found)
    assert sorted(len(path) - 1 for path in found.paths.values()) == [1, 1, 1, 2]
    assert beam.place(Residual.of(grid(2, 5)), crossed, TRAFFIC) is None  # five hops, four links with room for one


def test_it_takes_the_cheaper_of_two_roads_when_links_are_priced() -> None:
    topology = Topology(
        (Site("a", (Node("a", 1, 0),)), Site("b"), Site("c"), Site("d", (Node("d", 1, 0),))),
        tuple(Link(*ends, 10, 100, Capacity.SHARED) for ends in (("a", "b"), ("b", "d"), ("a", "c"), ("c", "d"))),
    )
    policy = replace(TRAFFIC, price_base=100.0)
    pair = Request("p", Shape.GRAPH, (Function("x", 1, 0), Function("y", 1, 0)), (Channel("x", "y", 30),))
    first = beam.place(Residual.of(topology), pair, policy)
    assert first is not None
    residual = Residual.of(topology).commit(first)
    free = replace(
        pair, name="q", functions=(Function("x", 0, 0, sites=frozenset("a")), Function("y", 0, 0, sites=frozenset("d")))
    )
    second = beam.place(residual, free, policy)
    assert second is not None
    check.require(residual, free, policy, second)
    middle = {path[1] for placed in (first, second) for path in placed.paths.values()}
    assert middle == {"b", "c"}


def test_the_same_answer_every_time() -> None:
    residual, request = Residual.of(grid(5, 9)), ring(7, 4)
    answers = [beam.place(residual, request, TRAFFIC) for _ in range(2)]
    assert answers[0] is not None
    assert answers[1] is not None
    assert (answers[0].assignment, answers[0].paths) == (answers[1].assignment, answers[1].paths)


def test_nothing_is_found_where_nothing_fits() -> None:
    assert beam.place(Residual.of(grid(2, 5)), ring(5, 1), TRAFFIC) is None
    assert beam.place(Residual.of(grid(2, 5)), ring(4, 6), TRAFFIC) is None
