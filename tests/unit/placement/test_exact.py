"""The exact solver: bounds, cuts, budgets. That it equals the papers' program: tests/properties."""

import itertools
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
from tephra.placement.generate import waxman, with_data_centres
from tephra.placement.graphs import beam, exact
from tephra.placement.graphs.formulate import formulate
from tephra.placement.graphs.guide import Guide
from tephra.placement.graphs.marginals import Costs, marginals


def bottleneck(narrow: int) -> tuple[Residual, Request]:
    """Two users at `a`; their functions fit only at `d`. The short way there has room for one of the two channels."""
    topology = Topology(
        (Site("a"), Site("b"), Site("c"), Site("d", (Node("d", 2, 0),)), Site("e", (Node("e", 1, 0),))),
        (
            Link("a", "b", 10, narrow, Capacity.SHARED),
            Link("b", "d", 10, narrow, Capacity.SHARED),
            Link("a", "c", 40, 5, Capacity.SHARED),
            Link("c", "d", 40, 5, Capacity.SHARED),
            Link("d", "e", 100, 3, Capacity.SHARED),
        ),
    )
    functions = (Function("f", 1, 0), Function("g", 1, 0))
    channels = (Channel("u", "f", 4), Channel("v", "g", 4), Channel("f", "g", 1))
    request = Request("two", Shape.DAG, functions, channels, (Endpoint("u", "a"), Endpoint("v", "a")))
    return Residual.of(topology), request


def test_channels_that_crowd_each_other_are_cut_apart() -> None:
    residual, request = bottleneck(5)
    found = exact.solve(residual, request, Policy())
    assert isinstance(found, Placement)
    check.require(residual, request, Policy(), found)
    assert found.objective == 20 + 80  # one goes by b, the other by c
    assert found.gap == 0


def test_what_cannot_be_routed_is_refused_with_proof() -> None:
    residual, request = bottleneck(3)
    refused = exact.solve(residual, request, Policy())
    assert isinstance(refused, Refusal)
    assert refused.proved


def tree(random: np.random.Generator, size: int, sites: list[str]) -> Request:
    """A random tree of functions below a user."""
    functions = tuple(Function(f"f{number}", int(random.integers(500, 4000)), 1024) for number in range(size))
    parents = [int(random.integers(max(0, number - 3), number)) for number in range(1, size)]
    channels = [Channel("user", "f0", 5_000)]
    channels += [Channel(f"f{parent}", f"f{number}", 5_000) for number, parent in enumerate(parents, start=1)]
    user = sites[int(random.integers(len(sites)))]
    return Request("tree", Shape.TREE, functions, tuple(channels), (Endpoint("user", user),))


def estate(seed: int) -> tuple[Residual, Request]:
    random = np.random.default_rng(seed)
    topology = with_data_centres(random, waxman(random, 30), 8, servers=2, cpu_m=8_000, memory_mib=16_384)
    return Residual.of(topology), tree(random, 15, [site.name for site in topology.sites if not site.nodes])


@pytest.mark.parametrize("seed", range(3))
def test_a_tree_over_many_nodes_is_proved(seed: int) -> None:
    residual, request = estate(seed)
    first = beam.place(residual, request, Policy())
    found = exact.solve(residual, request, Policy(), budget_s=10)
    assert isinstance(found, Placement)
    check.require(residual, request, Policy(), found)
    assert found.gap == 0
    assert first is None or found.objective <= first.objective


def test_without_a_budget_the_bound_is_that_of_the_tree() -> None:
    residual, request = estate(1)
    quick = exact.solve(residual, request, Policy(), budget_s=0.0)
    best = exact.solve(residual, request, Policy(), budget_s=10)
    assert isinstance(quick, Placement)
    assert isinstance(best, Placement)
    check.require(residual, request, Policy(), quick)
    assert 0 < quick.lower_bound <= best.objective <= quick.objective


def test_a_hint_is_not_lost() -> None:
    residual, request = estate(2)
    best = exact.solve(residual, request, Policy(), budget_s=10)
    assert isinstance(best, Placement)
    again = exact.solve(residual, request, Policy(), budget_s=0.0, hint=best)
    assert isinstance(again, Placement)
    assert again.objective == best.objective


def test_min_marginals_are_those_of_all_assignments() -> None:
    """Enumerated: the least cost of the relaxed problem with each function at each site."""
    residual, request = bottleneck(5)
    request = replace(request, channels=request.channels[:2])
    instance = formulate(residual, request, Policy())
    guide = Guide.of(instance)
    costs = Costs.of(guide)
    found = marginals(instance, costs)
    for function, host in itertools.product(range(2), range(len(guide.hosts))):
        other = 1 - function
        least = costs.single[function, host] + costs.single[other].min()
        assert found.single[function, host] == pytest.approx(least, rel=1e-6)
    assert found.bound == pytest.approx(40, rel=1e-6)
