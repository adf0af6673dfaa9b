"""Consolidation: every gate by its effect on small fleets, and invariants of plans for random ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.placement.consolidation import Ours, _dot_product
from bench.placement.peers.thresholds import iqr, lr, mad, thr
from bench.placement.vm_days import STEPS, day
from tephra.placement.energy.consolidate import Guest, Host, Plan, Rules, plan
from tephra.placement.energy.costs import Switching, specpower, transfer
from tephra.placement.model import Node, PowerCurve

CURVE = PowerCurve(((0.0, 100.0), (1.0, 200.0)))
ALONE = Rules(spare=False, headroom=0)


def host(number: int, *, cpu: int = 4_000, memory: int = 8_192, group: str = "edge", on: bool = True) -> Host:
    return Host(Node(f"h{number}", cpu, memory, power=CURVE, awake=on), group)


def guest(name: str, on: int, *, cpu: float = 500, high: float | None = None, memory: int = 1_024) -> Guest:
    return Guest(name, f"h{on}", cpu, cpu if high is None else high, memory)


def test_half_empty_hosts_are_merged_and_switched_off() -> None:
    answer = plan([host(0), host(1)], [guest("a", 0), guest("b", 0), guest("c", 1)], ALONE)
    assert [(move.guest, move.source, move.target) for move in answer.moves] == [("c", "h1", "h0")]
    assert answer.off == ("h1",)
    assert answer.watts_before - answer.watts_after == pytest.approx(100 - Switching().off_watts)
    assert "empties h1" in answer.moves[0].reason


def test_memory_is_never_overcommitted() -> None:
    answer = plan([host(0), host(1)], [guest("a", 0, memory=5_000), guest("b", 1, memory=5_000)], ALONE)
    assert not answer.moves
    assert not answer.off
    assert dict(answer.kept)["h0"].startswith("its guests fit no other host")


def test_the_forecasts_upper_quantile_must_fit() -> None:
    calm = [guest("a", 0, cpu=1_500, high=1_900), guest("b", 1, cpu=1_500, high=1_900)]
    bursty = [guest("a", 0, cpu=1_500, high=3_000), guest("b", 1, cpu=1_500, high=3_000)]
    assert plan([host(0), host(1)], calm, ALONE).moves
    assert not plan([host(0), host(1)], bursty, ALONE).moves


def test_an_overloaded_host_is_relieved_first_by_a_host_that_is_on() -> None:
    guests = [guest("a", 0, cpu=3_000), guest("b", 0, cpu=1_500), guest("c", 1, cpu=100)]
    answer = plan([host(0), host(1), host(2, on=False)], guests, ALONE)
    assert [(move.guest, move.target) for move in answer.moves] == [("a", "h1")]
    assert not answer.wake


def test_a_host_is_woken_when_none_that_is_on_has_room() -> None:
    guests = [guest("a", 0, cpu=3_000), guest("b", 0, cpu=1_500), guest("c", 1, cpu=3_000)]
    answer = plan([host(0), host(1), host(2, on=False)], guests, ALONE)
    assert answer.wake == ("h2",)
    assert answer.moves[0].target == "h2"


def test_overload_that_nothing_can_relieve_is_said() -> None:
    answer = plan([host(0)], [guest("a", 0, cpu=3_000), guest("b", 0, cpu=3_000)], ALONE)
    assert "add capacity" in dict(answer.kept)["h0"]


def test_a_class_keeps_room_to_lose_its_fullest_host() -> None:
    fleet = [host(0), host(1), host(2)]
    guests = [guest("a", 0, memory=6_000), guest("b", 1, memory=1_000)]
    assert len(plan(fleet, guests, Rules(headroom=0)).off) == 1  # of the two idle hosts, one stays as the spare
    assert len(plan(fleet, guests, ALONE).off) == 2


def test_guests_stay_in_their_proximity_class() -> None:
    answer = plan([host(0), host(1, group="core")], [guest("a", 0), guest("b", 1)], ALONE)
    assert not answer.moves


def test_savings_must_be_worth_the_disruption() -> None:
    fleet, guests = [host(0), host(1)], [guest("a", 0, memory=4_000), guest("b", 1, memory=4_000)]
    assert plan(fleet, guests, ALONE).moves
    strict = Rules(spare=False, headroom=0, savings_per_disruption=2)
    assert dict(plan(fleet, guests, strict).kept)["h1"] == "it saves too little for what would be disrupted"


def test_a_horizon_shorter_than_the_break_even_switches_nothing_off() -> None:
    rules = Rules(spare=False, horizon_s=60)
    answer = plan([host(0), host(1)], [guest("a", 0)], rules)
    assert not answer.off
    assert Switching().break_even_s(100) == pytest.approx(23_000 / 92)


def test_a_guest_that_was_moved_lately_or_may_not_move_keeps_its_host_on() -> None:
    fresh = Guest("b", "h1", 100, 100, 512, resident_s=60)
    pinned = Guest("b", "h1", 100, 100, 512, movable=False)
    writing = Guest("b", "h1", 100, 100, 512, dirty_mbps=2_000)  # pre-copy over 1 Gbit/s would never end
    for stuck in (fresh, pinned, writing):
        answer = plan([host(0), host(1)], [guest("a", 0), guest("c", 0), stuck], ALONE)
        assert stuck.name not in {move.guest for move in answer.moves}
        assert "h1" not in answer.off


def test_moves_have_a_price() -> None:
    sent = transfer(1_000, dirty_mbps=100, bandwidth_mbps=1_000, watts=20)
    assert sent is not None
    assert sent.mib == pytest.approx(1_000 / 0.9)
    assert sent.seconds == pytest.approx(1_000 / 0.9 * 8.388608 / 1_000)
    assert sent.joules == pytest.approx(20 * sent.seconds)
    assert transfer(1_000, dirty_mbps=1_000, bandwidth_mbps=1_000, watts=20) is None


def test_interference_makes_co_runners_heavier() -> None:
    fleet, guests = [host(0), host(1)], [guest("a", 0, cpu=1_900), guest("b", 1, cpu=1_900)]
    assert plan(fleet, guests, ALONE).moves
    assert not plan(fleet, guests, Rules(spare=False, headroom=0, interference=0.2)).moves


@pytest.mark.parametrize(
    ("guests", "message"),
    [
        ([guest("a", 7)], "Guest a: host names 'h7', which is not among the hosts"),
        ([guest("a", 0), guest("a", 0)], "Plan: guests names 'a' twice"),
    ],
)
def test_a_wrong_fleet_is_refused(guests: list[Guest], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan([host(0)], guests)
    with pytest.raises(ValueError, match="Guest b: cpu_high_m"):
        Guest("b", "h0", cpu_m=5, cpu_high_m=4, memory_mib=1)
    with pytest.raises(ValueError, match="Rules: headroom"):
        Rules(headroom=1.0)


def test_spec_curves_are_linear_between_published_loads() -> None:
    curve = specpower((60, 80, 120))
    assert (curve.idle, curve.watts(0.25), curve.peak) == (60, 70, 120)
    with pytest.raises(ValueError, match="watts has 1 values"):
        specpower((60,))


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Host], list[Guest]]:
    hosts = [host(n, group=draw(st.sampled_from("ab")), on=draw(st.booleans())) for n in range(draw(st.integers(1, 6)))]
    sizes = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3_000), st.integers(0, 4_096)), max_size=12))
    guests = [
        guest(f"g{number}", where % len(hosts), cpu=cpu / 2, high=cpu, memory=memory)
        for number, (where, cpu, memory) in enumerate(sizes)
    ]
    return hosts, guests


@given(fleets(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_plans_keep_their_promises(fleet: tuple[list[Host], list[Guest]], spare: bool) -> None:
    hosts, guests = fleet
    answer = plan(hosts, guests, Rules(spare=spare))
    assert answer == plan(hosts, guests, Rules(spare=spare))
    _check(hosts, guests, answer)


def _check(hosts: list[Host], guests: list[Guest], answer: Plan) -> None:
    """What must hold after the moves, summed anew."""
    groups = {item.node.name: item.group for item in hosts}
    where = {item.name: item.host for item in guests}
    targets = {move.target for move in answer.moves}
    for move in answer.moves:
        assert where[move.guest] == move.source
        assert groups[move.source] == groups[move.target]
        where[move.guest] = move.target
    assert not set(answer.off) & set(where.values())
    for item in hosts:
        mine = [one for one in guests if where[one.name] == item.node.name]
        if item.node.name in targets:
            assert sum(one.memory_mib for one in mine) <= item.node.memory_mib
            assert sum(one.cpu_m for one in mine) <= item.node.cpu_m


def test_the_threshold_detectors_are_those_of_their_paper() -> None:
    history = np.array([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]])
    assert thr(history) == pytest.approx([0.8])
    assert iqr(history) == pytest.approx([1 - 1.5 * 0.4])
    assert mad(history) == pytest.approx([1 - 2.5 * 0.2])
    assert lr(history) == pytest.approx([-1.0])  # next value 1.0, times 1.2, is over one
    assert lr(history / 2) == pytest.approx([np.inf])


def test_our_policy_follows_a_small_day() -> None:
    small = day(5, 32_768, vms=40, hosts=30)
    before = _dot_product(small)
    after = Ours.on(small).step(STEPS - STEPS % 12, before)
    assert len(set(after)) < len(set(before))
    assert (np.bincount(after, small.vm_memory, 30) <= small.host_memory).all()
