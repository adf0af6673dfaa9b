"""Whatever is asked of whatever network: a placement that the independent checker finds right, or a refusal that is.

The papers' integer program is the oracle: what it proves nobody betters, and what it proves impossible nobody places.
"""

import math

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tephra.placement import Placement, Policy, Refusal, Request, Residual, Shape, Topology, check, ilp
from tephra.placement.chains import chain
from tephra.placement.refuse import cause
from tephra.placement.solve import SOLVERS, solve
from tests.support.placement import policies, requests, topologies

slow = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@st.composite
def problems(draw: st.DrawFn, shape: Shape | None = None) -> tuple[Residual, Request, Policy]:
    """A topology with up to one request in force, another request, a policy."""
    topology: Topology = draw(topologies())
    residual = Residual.of(topology)
    before = solve(residual, draw(requests(topology, "before")), Policy(), explain=False)
    if isinstance(before, Placement) and draw(st.booleans()):
        residual = residual.commit(before)
    return residual, draw(requests(topology, shape=shape)), draw(policies())


@pytest.mark.parametrize("solver", ["auto", "beam", "exact"])
@slow
@given(problem=problems())
def test_every_answer_is_right_and_none_is_better_than_the_papers_program(
    solver: str, problem: tuple[Residual, Request, Policy]
) -> None:
    _agree(solver, *problem)


@slow
@given(problem=problems(Shape.CHAIN))
def test_segment_a_star_agrees_with_the_papers_program(problem: tuple[Residual, Request, Policy]) -> None:
    assume(chain.suits(problem[1]))
    _agree("segment-a*", *problem)


def _agree(solver: str, residual: Residual, request: Request, policy: Policy) -> None:
    best = ilp.solve(residual, request, policy, budget_s=5)
    answer = solve(residual, request, policy, solver=solver, budget_s=2, explain=False)
    if isinstance(best, Placement):
        check.require(residual, request, policy, best)
    if isinstance(answer, Refusal):
        assert not (answer.proved and isinstance(best, Placement)), "refused as impossible, but the oracle placed it"
        return
    check.require(residual, request, policy, answer)
    assert isinstance(best, Placement) or not best.proved, "placed what the oracle proves impossible"
    if isinstance(best, Placement):
        slack = 1e-3 * max(1.0, best.objective)
        assert answer.objective >= best.lower_bound - slack
        assert answer.lower_bound <= best.objective + slack
        if solver == "exact" and best.gap < 1e-6:
            assert math.isclose(answer.objective, best.objective, rel_tol=1e-3, abs_tol=1e-2)


@slow
@given(problem=problems())
def test_a_cause_is_a_proof_and_a_relaxation_a_way_out(problem: tuple[Residual, Request, Policy]) -> None:
    residual, request, policy = problem
    answer = solve(residual, request, policy)
    if isinstance(answer, Placement):
        assert cause(residual, request, policy) is None
        return
    if answer.proved:
        assert isinstance(ilp.solve(residual, request, policy, budget_s=5), Refusal)
    assert answer.reason
    if answer.relaxation is not None:
        assert answer.relaxation.before != answer.relaxation.after
        assert answer.relaxation.text


@slow
@given(data=st.data())
def test_commit_and_release_undo_each_other(data: st.DataObject) -> None:
    topology = data.draw(topologies())
    whole = Residual.of(topology)
    answer = solve(whole, data.draw(requests(topology)), data.draw(policies()), explain=False)
    if isinstance(answer, Placement):
        there = whole.commit(answer)
        assert (there.node_free >= 0).all()
        assert (there.pool_free >= 0).all()
        back = there.release(answer)
        assert (back.node_free == whole.node_free).all()
        assert (back.pool_free == whole.pool_free).all()
        assert back.guests == whole.guests


@slow
@given(problem=problems())
def test_equal_input_has_equal_answers(problem: tuple[Residual, Request, Policy]) -> None:
    one, other = (solve(*problem, explain=False) for _ in range(2))
    assert type(one) is type(other)
    if isinstance(one, Placement) and isinstance(other, Placement):
        assert (one.assignment, one.paths, one.objective) == (other.assignment, other.paths, other.objective)


def test_there_is_a_solver_for_every_name() -> None:
    assert set(SOLVERS) == {"auto", "segment-a*", "beam", "exact", "ilp"}
