"""Refusals: what stopped a request, and the least change that would admit it, worked out by hand."""

from dataclasses import replace

import pytest

from tephra.placement import (
    Affinity,
    Channel,
    Endpoint,
    Function,
    Isolation,
    Placement,
    Policy,
    Refusal,
    Request,
    Residual,
    Scope,
    Shape,
)
from tephra.placement.solve import solve
from tests.support.placement import MBIT, chain_of, empty


def refused(request: Request, residual: Residual | None = None, policy: Policy | None = None) -> Refusal:
    """The refusal of a request that cannot be placed."""
    answer = solve(residual or empty(), request, policy)
    assert isinstance(answer, Refusal)
    assert answer.proved
    return answer


def test_a_delay_class_is_loosened_to_the_nearest_node_that_fits() -> None:
    answer = refused(chain_of(Function("f", 3000, 1000, max_delay_us=1000)))
    assert (answer.function, answer.resource) == ("f", "cpu_m")
    assert answer.relaxation is not None
    # metro is 2500 µs away; a third less CPU fits the edge, and changes less
    assert (answer.relaxation.field, answer.relaxation.before) == ("cpu_m", 3000)
    assert 1980 <= int(answer.relaxation.after) <= 2000


def test_the_smaller_change_is_named() -> None:
    answer = refused(chain_of(Function("f", 3900, 1000, max_delay_us=2400)))
    assert answer.relaxation is not None
    assert (answer.relaxation.field, answer.relaxation.before) == ("max_delay_us", 2400)
    assert 2500 <= int(answer.relaxation.after) <= 2540


def test_the_thin_link_is_named() -> None:
    request = chain_of(Function("f", 100, 100), kbps=101 * MBIT)
    answer = refused(request)
    assert (answer.resource, answer.link) == ("bandwidth_kbps", ("access", "edge"))
    assert answer.relaxation is not None
    assert (answer.relaxation.field, answer.relaxation.before) == ("bandwidth_kbps", 101 * MBIT)
    assert 99 * MBIT <= int(answer.relaxation.after) <= 100 * MBIT


def test_a_class_that_no_node_has_is_replaced() -> None:
    answer = refused(chain_of(Function("f", 100, 100, "sgx")))
    assert (answer.compute_class, answer.resource) == ("sgx", "compute_class")
    assert answer.relaxation is not None
    assert (answer.relaxation.before, answer.relaxation.after) == ("sgx", "container")


def test_headroom_is_given_up_before_anything_is_dropped() -> None:
    answer = refused(chain_of(Function("f", 16000, 100)), policy=Policy(headroom=0.2))
    assert answer.relaxation is not None
    assert answer.relaxation.field in {"headroom", "cpu_m"}


def test_a_rule_is_dropped_when_nothing_smaller_helps() -> None:
    functions = tuple(Function(f"f{number}", 10, 10, "vm") for number in range(2))
    apart = Affinity(frozenset({"f0", "f1"}), Scope.NODE, anti=True)
    answer = refused(Request("r", Shape.DAG, functions, affinities=(apart,)))
    assert answer.relaxation is not None
    assert answer.relaxation.field == "affinities"


def test_isolation_names_the_function_that_found_no_node_of_its_own() -> None:
    lodgers = tuple(Function(f"g{number}", 10, 10) for number in range(4))
    apart = Affinity(frozenset(lodger.name for lodger in lodgers), Scope.NODE, anti=True)
    placed = solve(empty(), Request("lodgers", Shape.DAG, lodgers, affinities=(apart,)))
    assert isinstance(placed, Placement)
    answer = refused(chain_of(Function("f", 10, 10, isolation=Isolation.EXCLUSIVE)), empty().commit(placed))
    assert (answer.function, answer.resource) == ("f", "isolation")
    assert answer.relaxation is not None
    assert answer.relaxation.after == Isolation.NONE


def test_too_much_together_is_told_with_the_sums() -> None:
    functions = tuple(Function(f"f{number}", 2000, 100, max_delay_us=3000) for number in range(6))
    answer = refused(chain_of(*functions))
    assert "6 functions (f0, f1, f2…) need 12000 millicores of CPU in all" in answer.reason
    assert "have 10000 free" in answer.reason


def test_without_explanation_a_refusal_is_short() -> None:
    answer = solve(empty(), chain_of(Function("f", 10**6, 1)), explain=False)
    assert isinstance(answer, Refusal)
    assert (answer.function, answer.relaxation) == (None, None)


@pytest.mark.parametrize("solver", ["auto", "exact", "beam"])
def test_a_single_workload_goes_where_its_peers_are(solver: str) -> None:
    peers = (Endpoint("bus", "metro"), Endpoint("sensor", "edge"))
    channels = (Channel("silo", "bus", 8 * MBIT), Channel("bus", "silo", MBIT), Channel("sensor", "silo", MBIT))
    request = Request("silo", Shape.SINGLE, (Function("silo", 500, 512),), channels, peers)
    answer = solve(empty(), request, solver=solver)
    assert isinstance(answer, Placement)
    assert answer.assignment["silo"] in {"m1", "m2"}
    assert answer.objective == 2000
    moved = solve(empty(), replace(request, running={"silo": "e1"}), Policy(disruption=10.0), solver=solver)
    assert isinstance(moved, Placement)
    assert moved.assignment["silo"] == "e1"  # 512 MiB at 10 each are dearer than 2000 µs more
