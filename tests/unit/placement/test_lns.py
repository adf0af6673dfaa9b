"""Batch re-optimisation: better or equal, within the migration budget, every placement right beside the others."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tephra.placement import (
    Capacity,
    Channel,
    Endpoint,
    Function,
    Link,
    Node,
    Placement,
    Policy,
    Refusal,
    Request,
    Residual,
    Shape,
    Site,
    Topology,
    check,
)
from tephra.placement.generate import chain, waxman, with_data_centres
from tephra.placement.graphs import lns
from tephra.placement.solve import solve


def crowd(seed: int) -> tuple[Residual, list[Placement]]:
    """Chains placed one after the other, then every third gone: room that those who came late could not have."""
    random = np.random.default_rng(seed)
    topology = with_data_centres(random, waxman(random, 20), 5, servers=2, cpu_m=8_000, memory_mib=32_768)
    residual, placed = Residual.of(topology), list[Placement]()
    for number in range(12):
        answer = solve(residual, chain(random, f"c{number}", topology, 4), explain=False)
        if isinstance(answer, Placement):
            residual = residual.commit(answer)
            placed.append(answer)
    for gone in placed[::3]:
        residual = residual.release(gone)
    return residual, [placement for placement in placed if placement not in placed[::3]]


def prove(batch: lns.Batch, policy: Policy, topology: Topology) -> None:
    residual = Residual.of(topology)
    for placement in batch.placements:
        residual = residual.commit(placement)
        check.require(batch.residual.release(placement), placement.request, policy, placement)
    assert (residual.node_free == batch.residual.node_free).all()
    assert (residual.pool_free == batch.residual.pool_free).all()


@pytest.mark.parametrize("migrations", [0, 2, 100])
def test_better_within_the_budget(migrations: int) -> None:
    residual, placed = crowd(5)
    batch = lns.reoptimise(residual, placed, Policy(), migrations=migrations, rounds=10)
    prove(batch, Policy(), residual.topology)
    assert [placement.request for placement in batch.placements] == [placement.request for placement in placed]
    assert len(batch.moved) <= migrations
    assert batch.after <= batch.before
    assert batch.before == pytest.approx(sum(placement.objective for placement in placed))
    if migrations == 100:
        assert batch.after < batch.before


def test_a_move_that_saves_less_than_it_disrupts_is_not_made() -> None:
    residual, placed = crowd(5)
    batch = lns.reoptimise(residual, placed, Policy(disruption=1e6), migrations=100, rounds=5)
    prove(batch, Policy(disruption=1e6), residual.topology)
    assert not batch.moved


def test_the_same_for_the_same_seed() -> None:
    residual, placed = crowd(6)
    one, other = (lns.reoptimise(residual, placed, Policy(), migrations=9, rounds=6, seed=3) for _ in range(2))
    assert [p.assignment for p in one.placements] == [p.assignment for p in other.placements]
    assert one.after == other.after


def test_an_empty_batch_is_left_alone() -> None:
    residual, _ = crowd(5)
    batch = lns.reoptimise(residual, [], Policy(), migrations=5)
    assert (batch.placements, batch.before, batch.after) == ((), 0.0, 0.0)


def two_sites() -> Topology:
    """near holds two functions, far one."""
    sites = (Site("near", (Node("n", 2, 0),)), Site("far", (Node("f", 1, 0),)))
    return Topology(sites, (Link("near", "far", 10, 100, Capacity.SHARED),))


def single(name: str, most: int | None = None) -> Request:
    function = Function("x", 1, 0, max_delay_us=most)
    return Request(name, Shape.SINGLE, (function,), (Channel("u", "x", 1),), (Endpoint("u", "near"),), "u")


def placed_in(residual: Residual, requests: Sequence[Request]) -> tuple[Residual, list[Placement]]:
    placed = list[Placement]()
    for request in requests:
        answer = solve(residual, request)
        assert isinstance(answer, Placement)
        placed.append(answer)
        residual = residual.commit(answer)
    return residual, placed


def test_others_move_aside_for_one_that_finds_no_room() -> None:
    """Both that came first took `near`, where only the newcomer must be."""
    residual, placed = placed_in(Residual.of(two_sites()), [single("a"), single("b")])
    newcomer = single("c", most=5)
    assert isinstance(solve(residual, newcomer), Refusal)
    batch = lns.admit(residual, placed, newcomer, Policy(), migrations=1)
    assert batch is not None
    prove(batch, Policy(), residual.topology)
    assert batch.placements[-1].request == newcomer
    assert batch.placements[-1].assignment["x"] == "n"
    assert len(batch.moved) == 1
    assert lns.admit(residual, placed, newcomer, Policy(), migrations=0) is None


def test_one_that_has_no_room_even_alone_is_not_let_in() -> None:
    residual, placed = placed_in(Residual.of(two_sites()), [single("a")])
    huge = replace(single("h"), functions=(Function("x", 9, 0),))
    assert lns.admit(residual, placed, huge, Policy(), migrations=5) is None
