"""The checker: it accepts what is right and names each thing that is wrong."""

from collections.abc import Callable
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
    Request,
    Residual,
    Scope,
    Shape,
    check,
    ilp,
)
from tests.support.placement import MBIT, chain_of, empty

POLICY = Policy(latency=1.0, watts=1.0, opening=1.0)
DETECT, STORE = Function("detect", 2000, 4096, max_delay_us=3000), Function("store", 3000, 2048)


def sound() -> tuple[Residual, Request, Placement]:
    """detect on e1, store on m1; every number worked out by hand."""
    request = chain_of(DETECT, STORE)
    paths = {("user", "detect"): ("access", "edge"), ("detect", "store"): ("edge", "metro")}
    # 500 + 2000 µs; two empty sites: 2 * 100; watts: e1 60 * 2000 / 2000, m1 60 * 3000 / 4000
    value = 2500 + 200 + 60 + 45
    return empty(), request, Placement(request, {"detect": "e1", "store": "m1"}, paths, value, value, "hand", 0.0)


def test_what_is_right_is_accepted() -> None:
    residual, request, placement = sound()
    assert check.violations(residual, request, POLICY, placement) == ()
    assert check.objective(residual, POLICY, placement) == placement.objective


def test_the_papers_program_finds_the_optimum_worked_out_by_hand() -> None:
    """Both at metro, detect on m1, store on m2, whose power is not known: 2500 µs, 100 for the site, 30 W."""
    residual, request, _ = sound()
    best = ilp.solve(residual, request, POLICY)
    assert isinstance(best, Placement)
    check.require(residual, request, POLICY, best)
    assert (best.assignment, best.objective, best.gap) == ({"detect": "m1", "store": "m2"}, 2630, 0)


def _changed(placement: Placement, request: Request | None = None, **changes: object) -> Placement:
    return replace(placement, request=request or placement.request, **changes)  # type: ignore[arg-type]


def _on(placement: Placement, **nodes: str) -> Placement:
    return _changed(placement, assignment={**placement.assignment, **nodes})


def _way(placement: Placement, source: str, target: str, *sites: str) -> Placement:
    return _changed(placement, paths={**placement.paths, (source, target): sites})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: _changed(p, assignment={"detect": "e1"}), "'store' is not assigned"),
        (lambda p: _on(p, other="e1"), "'other' is assigned but not asked"),
        (lambda p: _on(p, store="x9"), "'x9', which does not exist"),
        (lambda p: _changed(p, paths={}), "has no path"),
        (lambda p: _way(p, "store", "detect", "metro"), "was not asked"),
        (lambda p: _way(p, "detect", "store", "edge"), "does not join the sites"),
        (lambda p: _way(p, "user", "detect", "access", "core", "edge"), "where no link is up"),
        (lambda p: _way(p, "detect", "store", "edge", "core", "edge", "metro"), "visits a site twice"),
        (lambda p: _on(p, store="e1"), "does not join"),
        (lambda p: _changed(p, objective=p.objective + 1), "objective is stated as"),
        (lambda p: _changed(p, objective=float("nan")), "objective is stated as"),
        (lambda p: _changed(p, lower_bound=p.objective + 1), "lower bound"),
        (lambda p: _changed(p, lower_bound=float("nan")), "lower bound"),
        (lambda p: _changed(p, chain_of(STORE)), "not the request"),
    ],
)
def test_each_flaw_of_a_placement_is_named(change: Callable[[Placement], Placement], says: str) -> None:
    residual, request, placement = sound()
    assert says in "; ".join(check.violations(residual, request, POLICY, change(placement)))


def _function(name: str, **fields: object) -> Callable[[Request], Request]:
    def change(request: Request) -> Request:
        functions = (replace(f, **fields) if f.name == name else f for f in request.functions)  # type: ignore[arg-type]
        return replace(request, functions=tuple(functions))

    return change


def _with_rule(*members: str, scope: Scope, anti: bool) -> Callable[[Request], Request]:
    return lambda request: replace(request, affinities=(Affinity(frozenset(members), scope, anti),))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_function("store", cpu_m=4001), "'m1' has 4000 cpu_m free, its functions need 4001"),
        (_function("store", memory_mib=8193), "memory_mib free"),
        (_function("store", compute_class="vm"), "needs class 'vm', which node 'm1' has not"),
        (_function("store", sites=frozenset({"core"})), "which is not among its sites"),
        (_function("store", max_delay_us=2499), "is 2500 µs away, more than 2499"),
        (lambda request: replace(request, max_path_us=2499), "more than max_path_us 2499"),
        (_with_rule("detect", "store", scope=Scope.SITE, anti=False), "are not together at one site"),
        (_with_rule("detect", "user", scope=Scope.SITE, anti=False), "are not together at one site"),
        (lambda request: replace(request, channels=_wide(request, 101 * MBIT)), "kbit/s free, its channels need"),
    ],
)
def test_each_rule_of_a_request_is_checked(change: Callable[[Request], Request], says: str) -> None:
    residual, request, placement = sound()
    request = change(request)
    assert says in "; ".join(check.violations(residual, request, POLICY, _changed(placement, request)))


def _wide(request: Request, kbps: int) -> tuple[Channel, ...]:
    return tuple(replace(channel, bandwidth_kbps=kbps) for channel in request.channels)


def test_headroom_counts_against_nodes_and_links() -> None:
    residual, request, placement = sound()
    assert "cpu_m free" in "; ".join(check.violations(residual, request, replace(POLICY, headroom=0.1), placement))


def test_isolation_is_checked_among_ones_own_and_with_guests() -> None:
    residual = empty()
    alone = Function("alone", 100, 100, isolation=Isolation.EXCLUSIVE)
    first = _single(alone, "m1")
    held = residual.commit(first)
    second = _single(Function("other", 100, 100), "m1", "b")
    assert "isolation forbids" in check.violations(held, second.request, Policy(), second)[0]
    assert check.violations(held, second.request, Policy(), _on(second, other="m2")) == ()
    ours = _single(Function("ours", 100, 100, isolation=Isolation.TENANT), "e1", "c", "alice")
    theirs = _single(Function("theirs", 100, 100), "e1", "d", "bob")
    assert "isolation forbids" in check.violations(residual.commit(theirs), ours.request, Policy(), ours)[0]


def _single(function: Function, node: str, name: str = "a", tenant: str = "") -> Placement:
    request = Request(name, Shape.SINGLE, (function,), tenant=tenant)
    return Placement(request, {function.name: node}, {}, 0.0, 0.0, "hand", 0.0)


def test_a_channel_and_its_reverse_take_the_same_sites() -> None:
    """Over the shared radio link both directions draw on one pool."""
    peer = Endpoint("peer", "edge")
    channels = (Channel("f", "peer", 10 * MBIT), Channel("peer", "f", 11 * MBIT))
    request = Request("r", Shape.SINGLE, (Function("f", 1, 1, sites=frozenset({"core"})),), channels, (peer,))
    there = {("f", "peer"): ("core", "edge"), ("peer", "f"): ("edge", "core")}
    shared = Placement(request, {"f": "c1"}, there, 18000, 0.0, "hand", 0.0)
    assert "20000 kbit/s free, its channels need 21000" in check.violations(empty(), request, Policy(), shared)[0]
    apart = _way(shared, "peer", "f", "edge", "metro", "core")
    assert "take different paths" in check.violations(empty(), request, Policy(), apart)[0]
    both = {("f", "peer"): ("core", "metro", "edge"), ("peer", "f"): ("edge", "metro", "core")}
    assert check.violations(empty(), request, Policy(), _changed(shared, paths=both, objective=20000.0)) == ()


def test_require_raises_with_every_violation() -> None:
    residual, request, placement = sound()
    with pytest.raises(AssertionError, match=r"objective is stated as .*; lower bound"):
        check.require(residual, request, POLICY, _changed(placement, objective=0.0, lower_bound=1e9))
