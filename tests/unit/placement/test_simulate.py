"""The replay of arrivals and departures, and what the benchmarks take from it."""

from dataclasses import replace

import numpy as np
import pytest

from bench.placement import nearest_fit
from tephra.placement import Placement, Policy, Refusal, Request, Residual, check, generate
from tephra.placement.chains import chain
from tephra.placement.simulate import Arrival, Kind, replay


@pytest.fixture
def problem() -> tuple[Residual, list[Request]]:
    """Thirty chains that ask for half as much again as there is."""
    rng = np.random.default_rng(7)
    topology = generate.with_data_centres(rng, generate.waxman(rng, 20), 6, servers=2)
    topology, requests = generate.offered(rng, topology, 30, 8, load=1.5)
    return Residual.of(topology), list(requests)


def impossible(request: Request) -> Request:
    """The request with a function larger than any node."""
    return replace(request, functions=(replace(request.functions[0], cpu_m=10**9), *request.functions[1:]))


def by_chain(residual: Residual, request: Request) -> Placement | chain.Unplaced:
    """Segment A* under bid prices."""
    return chain.place(residual, request, Policy(acceptance=1000))


def test_every_acceptance_is_right_and_every_departure_gives_back_what_it_took(
    problem: tuple[Residual, list[Request]],
) -> None:
    residual, requests = problem
    arrivals = [Arrival(float(n), request, n + 4.0) for n, request in enumerate(requests)]
    before, kinds = residual, list[Kind]()
    for event in replay(residual, arrivals, by_chain):
        kinds.append(event.kind)
        if event.kind is Kind.ACCEPTED:
            assert isinstance(event.answer, Placement)
            check.require(before, event.request, Policy(acceptance=1000), event.answer)
        before = event.residual
    in_force = kinds.count(Kind.ACCEPTED) - kinds.count(Kind.DEPARTED)
    assert 0 < in_force <= 4
    assert kinds.count(Kind.ACCEPTED) + kinds.count(Kind.REFUSED) == 30
    *_, last = replay(residual, [*arrivals, Arrival(99.0, impossible(requests[0]))], by_chain)
    assert last.kind is Kind.REFUSED
    assert (last.residual.node_free == residual.node_free).all()
    assert (last.residual.pool_free == residual.pool_free).all()


def test_arrivals_out_of_order_are_refused(problem: tuple[Residual, list[Request]]) -> None:
    residual, requests = problem
    with pytest.raises(ValueError, match=r"'chain-1' at 1\.0: not in order of time; sort by `at`"):
        list(replay(residual, [Arrival(2.0, requests[0]), Arrival(1.0, requests[1])], by_chain))


def test_nearest_fit_places_rightly_and_less(problem: tuple[Residual, list[Request]]) -> None:
    residual, requests = problem

    def nearest(residual: Residual, request: Request) -> Placement | Refusal:
        answer = nearest_fit.place(residual, request, Policy())
        if isinstance(answer, Placement):
            check.require(residual, request, Policy(), answer)
        return answer

    arrivals = [Arrival(float(n), request) for n, request in enumerate(requests)]
    theirs = [event.kind for event in replay(residual, arrivals, nearest)]
    ours = [event.kind for event in replay(residual, arrivals, by_chain)]
    assert 0 < theirs.count(Kind.ACCEPTED) <= ours.count(Kind.ACCEPTED)
