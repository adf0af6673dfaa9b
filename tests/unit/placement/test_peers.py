"""The heuristics that row 8 compares with, on examples worked by hand; and the instances all are given.

The path a - b - c with links of 1 and 3 carries most of them: small enough to solve the papers' equations on paper.
"""

import numpy as np
import pytest

from bench.placement import graphs
from bench.placement.peers import ranking
from bench.placement.peers.mapping import Embedding, Free, rw_bfs, shortest_path, two_stage
from bench.placement.virtual_networks import Substrate, VirtualNetwork, arrivals, geant_like, waxman

PATH = np.array([[0.0, 1, 0], [1, 0, 3], [0, 3, 0]])


def substrate(cpu: list[int], links: dict[tuple[int, int], int]) -> Substrate:
    width = np.array(list(links.values()))
    return Substrate("hand", np.array(cpu), np.array(list(links)), width, np.ones_like(width))


def asked(cpu: list[int], links: dict[tuple[int, int], int]) -> VirtualNetwork:
    return VirtualNetwork("hand", np.array(cpu), np.array(list(links)), np.array(list(links.values())), 0.0, 1.0)


def test_grc_is_the_solution_of_its_equations() -> None:
    # r_a = .05 + .85 * 1/4 r_b;  r_c = .05 + .85 * 3/4 r_b;  r_b = .05 + .85 (r_a + r_c)  =>  r_b = .135 / .2775
    rank = ranking.global_resource_capacity(np.ones(3), PATH, tolerance=1e-12)
    assert rank == pytest.approx([0.153378, 0.486486, 0.360135], abs=1e-6)


def test_grc_of_two_nodes() -> None:
    # r_1 = .0375 + .85 r_2;  r_2 = .1125 + .85 r_1
    rank = ranking.global_resource_capacity(np.array([1.0, 3]), np.array([[0.0, 7], [7, 0]]), tolerance=1e-12)
    assert rank == pytest.approx([0.479730, 0.520270], abs=1e-6)


def test_nrm_is_cpu_times_bandwidth_around() -> None:
    assert ranking.node_resource_metric(np.array([2.0, 1, 4]), PATH).tolist() == [2, 4, 12]


def test_random_walk_stands_where_its_equations_say() -> None:
    # H = (1, 8, 3); from b the walk steps to a with 1/4, to c with 3/4; r_b = .15 * 8/12 + .85 (1 - r_b)
    rank = ranking.random_walk(np.array([1.0, 2, 1]), PATH, tolerance=1e-12)
    assert rank == pytest.approx([0.121622, 0.513514, 0.364865], abs=1e-6)


def test_rankings_of_an_exhausted_network_are_numbers() -> None:
    for rank in (ranking.global_resource_capacity, ranking.node_resource_metric, ranking.random_walk):
        assert np.isfinite(rank(np.zeros(3), np.zeros((3, 3)))).all()


def test_two_stages_put_the_largest_on_the_largest() -> None:
    free = Free.of(substrate([2, 1, 4], {(0, 1): 1, (1, 2): 3}))  # NRM: a 2, b 4, c 12
    found = two_stage(ranking.node_resource_metric, free, asked([1, 2], {(0, 1): 2}))
    assert found == Embedding((1, 2), ((1, 2),))


def test_two_stages_do_not_reconsider_nodes_when_a_link_finds_no_way() -> None:
    free = Free.of(substrate([2, 1, 4], {(0, 1): 1, (1, 2): 3}))
    assert two_stage(ranking.node_resource_metric, free, asked([2, 2], {(0, 1): 2})) is None  # c and a, b - a is narrow


def test_a_path_goes_round_a_narrow_link() -> None:
    free = Free.of(substrate([1] * 4, {(0, 1): 1, (0, 2): 5, (2, 3): 5, (1, 3): 5}))
    assert shortest_path(free.bandwidth >= 1, 0, 1) == (0, 1)
    assert shortest_path(free.bandwidth >= 2, 0, 1) == (0, 2, 3, 1)
    assert shortest_path(free.bandwidth >= 6, 0, 1) is None


def test_rw_bfs_looks_as_far_as_it_may() -> None:
    free = Free.of(substrate([5, 1, 5], {(0, 1): 9, (1, 2): 9}))
    request = asked([2, 2], {(0, 1): 1})
    assert rw_bfs(free, request, max_hop=1) is None  # the only neighbour is too small
    found = rw_bfs(free, request, max_hop=2)
    assert found is not None
    assert sorted(found.nodes) == [0, 2]
    assert {len(path) for path in found.paths} == {3}


def test_rw_bfs_backtracks() -> None:
    # the richest root, 0, has only 1 beside it, which has no second neighbour of size; 3 - 4 - 5 is the way
    free = Free.of(substrate([9, 3, 1, 3, 3, 3], {(0, 1): 99, (1, 2): 9, (2, 3): 9, (3, 4): 9, (4, 5): 9}))
    found = rw_bfs(free, asked([3, 3, 3], {(0, 1): 2, (1, 2): 2}), max_hop=1)
    assert found is not None
    assert sorted(found.nodes) == [3, 4, 5]


def test_to_look_for_an_embedding_takes_nothing() -> None:
    free, whole = Free.of(geant_like(1)), Free.of(geant_like(1))
    for request in arrivals(1, 1.0, 5):
        for embed in graphs.PEERS.values():
            embed(free, request)
    assert (free.cpu == whole.cpu).all()
    assert (free.bandwidth == whole.bandwidth).all()


@pytest.mark.parametrize("name", [graphs.OURS, *graphs.PEERS])
def test_every_embedding_of_a_replay_is_right(name: str) -> None:
    """`replay` gives each to the checker, which knows nothing of heuristics."""
    tally = graphs.replay(name, geant_like(2, nodes=12, links=18), arrivals(2, 0.02, 25))
    assert tally.offered == 25
    assert 0 < tally.accepted <= 25
    assert tally.revenue <= tally.cost


def test_instances_are_what_the_papers_set() -> None:
    network, sparse, requests = waxman(3), geant_like(3), arrivals(3, 0.05, 200)
    assert (len(network.cpu), len(sparse.cpu), len(sparse.links)) == (100, 40, 61)
    assert 400 < len(network.links) < 650
    graphs_made: list[Substrate | VirtualNetwork] = [network, sparse, *requests]
    for graph in graphs_made:
        reached = np.linalg.matrix_power(np.eye(len(graph.cpu)) + (Free.of(graph).bandwidth > 0), len(graph.cpu) - 1)
        assert (reached > 0).all()
    assert {len(request.cpu) for request in requests} == set(range(2, 11))
    gaps = np.diff([request.arrival for request in requests])
    assert gaps.mean() == pytest.approx(20, rel=0.25)
    assert [request.revenue for request in arrivals(3, 0.05, 200)] == [request.revenue for request in requests]
