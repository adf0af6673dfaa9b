"""Vector packing against enumeration: what is said to fit fits, what is proved not to fit does not."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from tephra.placement.packing import pack

PAIRS = st.tuples(st.integers(0, 9), st.integers(0, 9))


def fits(demand: list[tuple[int, int]], free: list[tuple[int, int]], nodes: tuple[int, ...]) -> bool:
    """Whether every node holds what is put on it."""
    return all(
        sum(demand[item][resource] for item, at in enumerate(nodes) if at == node) <= room[resource]
        for node, room in enumerate(free)
        for resource in range(2)
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(PAIRS, min_size=1, max_size=6), st.lists(PAIRS, min_size=1, max_size=3), st.data())
def test_a_packing_is_found_exactly_where_there_is_one(
    demand: list[tuple[int, int]], free: list[tuple[int, int]], data: st.DataObject
) -> None:
    row = st.lists(st.booleans(), min_size=len(free), max_size=len(free))
    allowed = data.draw(st.lists(row, min_size=len(demand), max_size=len(demand)))
    every = product(*([node for node, yes in enumerate(row) if yes] for row in allowed))
    exists = any(fits(demand, free, nodes) for nodes in every)
    packing = pack(demand, free, allowed, steps=10_000)
    assert packing.proved
    assert (packing.nodes is not None) == exists
    if packing.nodes is not None:
        assert fits(demand, free, packing.nodes)
        assert all(allowed[item][node] for item, node in enumerate(packing.nodes))


def test_the_search_finds_what_the_greedy_ones_miss() -> None:
    """All memory of both nodes is needed: 6 + 4 and 2 + 5 + 3."""
    demand = [(5, 6), (4, 2), (5, 5), (1, 3), (1, 4)]
    free, open_to_all = [(10, 10), (10, 10)], [[True, True]] * len(demand)
    assert pack(demand, free, open_to_all, steps=0).nodes is None
    assert not pack(demand, free, open_to_all, steps=0).proved
    nodes = pack(demand, free, open_to_all).nodes
    assert nodes is not None
    assert fits(demand, free, nodes)


def test_the_cheapest_nodes_with_room_come_first() -> None:
    demand, free = [(1, 1), (1, 1), (1, 1)], [(9, 9), (2, 2)]
    assert pack(demand, free, [[True, True]] * 3, [[5.0, 1.0]] * 3).nodes == (1, 1, 0)
