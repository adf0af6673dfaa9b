"""The ordered stream: whatever the network does, every message arrives once and in order, or is counted as lost."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tephra.bus.messages import RepairRequest
from tephra.bus.stream import Outcome, Ring, Sequencer

ENTITIES = ("temp", "humidity", "pressure")


@dataclass
class Network:
    """A publisher with its ring and a receiver with its sequencer, joined by a channel that misbehaves."""

    chance: random.Random
    loss: float = 0.0
    duplication: float = 0.0
    reorder: int = 0
    ring: Ring = field(default_factory=lambda: Ring(epoch=1))
    sequencer: Sequencer[int] = field(default_factory=lambda: Sequencer(0.0))
    now: float = 0.0
    sent: list[int] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    channel: list[tuple[str, int, str, bool]] = field(default_factory=list)

    def publish(self) -> None:
        number = len(self.sent) + 1
        record = self.ring.put("t", ENTITIES[number % 3], b"%d" % number, self.now)
        self.sent.append(number)
        self.transmit(record.seq, record.entity, unicast=False)

    def transmit(self, seq: int, entity: str, unicast: bool, kind: str = "data") -> None:
        if self.chance.random() < self.loss:
            return
        for _ in range(2 if self.chance.random() < self.duplication else 1):
            place = len(self.channel) - self.chance.randint(0, self.reorder)
            self.channel.insert(max(place, 0), (kind, seq, entity, unicast))

    def receive(self) -> None:
        kind, seq, entity, unicast = self.channel.pop(0)
        if kind == "gone":
            self.take(self.sequencer.gone(1, seq, self.now))
        else:
            self.take(self.sequencer.offer(1, seq, entity, seq, self.now, unicast=unicast))

    def take(self, outcome: Outcome[int]) -> None:
        self.delivered += outcome.deliver
        if outcome.ask and self.chance.random() >= self.loss:
            self.repair(outcome.ask)

    def repair(self, request: RepairRequest) -> None:
        for answer in self.ring.answer("t", request, self.now):
            entity = answer.record.entity if answer.record else ""
            self.transmit(answer.seq, entity, unicast=True, kind="data" if answer.record else "gone")

    def drain(self) -> None:
        while self.channel:
            self.receive()

    def settle(self) -> None:
        """The network heals: time passes until nothing is waited for."""
        self.loss = self.duplication = self.reorder = 0
        self.drain()
        for record in self.ring.last("t"):  # as after every reconnection
            self.transmit(record.seq, record.entity, unicast=False)
        self.drain()
        while (deadline := self.sequencer.deadline) is not None:
            self.now = max(self.now, deadline)
            self.take(self.sequencer.tick(self.now))
            self.drain()


networks = st.builds(
    Network,
    chance=st.randoms(use_true_random=False),
    loss=st.floats(0, 0.6),
    duplication=st.floats(0, 0.5),
    reorder=st.integers(0, 20),
)


def start(network: Network) -> None:
    """The first message arrives unharmed: before it there is no stream to lose anything of."""
    record = network.ring.put("t", "temp", b"1", 0.0)
    network.sent.append(1)
    network.take(network.sequencer.offer(1, record.seq, "temp", 1, 0.0))


@settings(deadline=None, max_examples=150)
@given(networks, st.lists(st.sampled_from(["publish", "publish", "receive", "wait"]), max_size=200))
def test_everything_arrives_once_and_in_order(network: Network, steps: list[str]) -> None:
    start(network)
    for step in steps:
        if step == "publish":
            network.publish()
        elif step == "receive" and network.channel:
            network.receive()
        elif step == "wait":
            network.now += 0.3
            network.take(network.sequencer.tick(network.now))
    network.settle()
    assert network.delivered == network.sent or network.sequencer.lost
    assert len(network.delivered) + network.sequencer.lost == len(network.sent)
    assert network.delivered == sorted(set(network.delivered))


@settings(deadline=None, max_examples=60)
@given(networks, st.integers(1, 300))
def test_nothing_is_lost_while_the_ring_holds_it_and_answers_in_time(network: Network, count: int) -> None:
    start(network)
    for _ in range(count):
        network.publish()
    while network.channel:
        network.receive()
    network.settle()
    assert network.delivered == network.sent
    assert network.sequencer.lost == 0


@settings(deadline=None, max_examples=60)
@given(networks, st.integers(1, 300), st.integers(1, 50))
def test_what_the_ring_has_forgotten_is_counted(network: Network, count: int, memory: int) -> None:
    network.ring = Ring(epoch=1, max_count=memory)
    start(network)
    for _ in range(count):
        network.publish()
    network.settle()
    assert len(network.delivered) + network.sequencer.lost == len(network.sent)
    assert network.delivered == sorted(set(network.delivered))


@settings(deadline=None, max_examples=60)
@given(networks, st.integers(1, 300), st.integers(1, 20))
def test_a_small_capacity_costs_requests_but_no_message(network: Network, count: int, capacity: int) -> None:
    network.sequencer = Sequencer(0.0, capacity=capacity)
    start(network)
    for _ in range(count):
        network.publish()
    network.settle()
    assert network.delivered == network.sent


@given(st.permutations(list(range(10, 20))), st.integers(0, 5))
def test_the_backlog_of_a_resumed_session_is_put_in_order(backlog: list[int], extra: int) -> None:
    sequencer: Sequencer[int] = Sequencer(0.0, resumed=True)
    delivered = []
    for seq in backlog + backlog[:extra]:
        delivered += sequencer.offer(1, seq, "temp", seq, 0.1).deliver
    assert delivered == []
    assert sequencer.refresh(0.1) == RepairRequest()
    delivered += sequencer.offer(1, 19, "temp", 19, 0.2, unicast=True).deliver
    delivered += sequencer.offer(1, 20, "temp", 20, 0.3).deliver
    assert [number for number in delivered if number != 19] == [*range(10, 19), 20]
    assert sequencer.lost == 0


@given(st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=40))
def test_an_older_value_never_follows_a_newer_one(offers: list[tuple[int, bool]]) -> None:
    sequencer: Sequencer[int] = Sequencer(0.0)
    delivered: list[int] = []
    sequencer.refresh(0.0)
    for seq, unicast in offers:
        delivered += sequencer.offer(1, seq, "temp", seq, 0.1, unicast=unicast).deliver
    assert delivered == sorted(delivered)


def offer_all(sequencer: Sequencer[str], *messages: tuple[int, int, str]) -> list[str]:
    delivered = []
    for epoch, seq, entity in messages:
        delivered += sequencer.offer(epoch, seq, entity, f"{epoch}:{seq}", 1.0).deliver
    return delivered


def test_first_subscription_delivers_all_retained_and_goes_on_behind_the_newest() -> None:
    sequencer: Sequencer[str] = Sequencer(0.0)
    delivered = []
    for epoch, seq, entity in ((1, 7, "stale"), (2, 90, "a"), (2, 100, "b"), (2, 80, "c")):
        delivered += sequencer.offer(epoch, seq, entity, f"{epoch}:{seq}", 0.0, retained=True).deliver
    assert delivered == ["1:7", "2:90", "2:100", "2:80"]
    outcome = sequencer.offer(2, 103, "a", "2:103", 1.0)
    assert outcome == Outcome([], [], RepairRequest(epoch=2, first=101, last=102))


def test_a_new_life_starts_at_one_even_if_its_first_messages_are_missing() -> None:
    sequencer: Sequencer[str] = Sequencer(0.0)
    assert offer_all(sequencer, (1, 5, "a"), (1, 6, "a")) == ["1:5", "1:6"]
    assert sequencer.offer(2, 3, "a", "2:3", 1.0).ask == RepairRequest(epoch=2, first=1, last=2)
    assert offer_all(sequencer, (2, 1, "a"), (2, 2, "a")) == ["2:1", "2:2", "2:3"]
    assert offer_all(sequencer, (1, 7, "a")) == []


def test_a_life_whose_clock_stepped_back_is_followed_and_the_old_one_is_not() -> None:
    sequencer: Sequencer[str] = Sequencer(0.0)
    assert offer_all(sequencer, (9, 1, "a"), (3, 1, "a"), (9, 2, "a"), (3, 2, "a")) == ["9:1", "3:1", "3:2"]
    assert sequencer.offer(1, 8, "z", "1:8", 1.0, retained=True).deliver == ["1:8"]
    assert sequencer.offer(1, 8, "a", "1:8", 1.0, retained=True).deliver == []
    assert offer_all(sequencer, (3, 3, "a")) == ["3:3"]


def test_what_a_dead_life_still_owed_is_counted_and_what_was_held_is_delivered() -> None:
    sequencer: Sequencer[str] = Sequencer(0.0)
    assert offer_all(sequencer, (1, 1, "a"), (1, 4, "a"), (2, 1, "a")) == ["1:1", "1:4", "2:1"]
    assert sequencer.lost == 2


def test_a_hole_nobody_fills_is_asked_for_again_and_then_given_up() -> None:
    sequencer: Sequencer[str] = Sequencer(0.0)
    offer_all(sequencer, (1, 1, "a"), (1, 3, "a"))
    again = RepairRequest(epoch=1, first=2, last=2)
    assert sequencer.tick(1.5).ask is None
    assert sequencer.tick(2.0).ask == again
    assert sequencer.reconnected(3.0) == again
    assert sequencer.tick(6.5) == Outcome([], [], again)
    assert sequencer.tick(8.0) == Outcome(["1:3"], [], None)
    assert sequencer.deadline is None
    assert sequencer.lost == 1


def test_a_new_tenant_broker_gets_the_last_values_again() -> None:
    sequencer: Sequencer[str] = Sequencer(0.0)
    offer_all(sequencer, (1, 1, "a"), (1, 2, "b"), (1, 3, "a"))
    assert sequencer.offer(1, 2, "b", "again", 2.0, unicast=True).deliver == []
    sequencer.refresh(2.0)
    assert sequencer.offer(1, 2, "b", "again", 2.1, unicast=True).deliver == ["again"]
    assert sequencer.offer(1, 1, "a", "older", 2.1, unicast=True).deliver == []


def test_the_ring_forgets_by_age_but_keeps_last_values() -> None:
    ring = Ring(epoch=5, max_age=30)
    ring.put("t", "a", b"1", 0.0)
    ring.put("t", "b", b"2", 20.0)
    answers = list(ring.answer("t", RepairRequest(epoch=5, first=1, last=2), 40.0))
    assert [(answer.seq, answer.record and answer.record.payload) for answer in answers] == [(2, None), (2, b"2")]
    assert [record.payload for record in ring.last("t")] == [b"1", b"2"]
    assert [answer.seq for answer in ring.answer("t", RepairRequest(), 99.0)] == [1, 2]
    assert [answer.seq for answer in ring.answer("t", RepairRequest(epoch=5, first=1, last=2), 99.0)] == [3]


def test_the_ring_refuses_questions_about_another_life() -> None:
    ring = Ring(epoch=5)
    ring.put("t", "a", b"1", 0.0)
    assert [tuple(answer) for answer in ring.answer("t", RepairRequest(epoch=4, first=7, last=9), 1.0)] == [(1, None)]


def test_an_entity_that_is_gone_has_no_last_value_but_its_number() -> None:
    ring = Ring(epoch=5)
    ring.put("t", "a", b"1", 0.0)
    assert ring.put("t", "a", b"", 1.0).seq == 2
    assert ring.last("t") == []
    assert [answer.seq for answer in ring.answer("t", RepairRequest(epoch=5, first=1), 2.0)] == [1, 2]


@pytest.mark.parametrize("count", [25_000])
def test_the_ring_is_bounded_by_count_over_all_things(count: int) -> None:
    ring = Ring(epoch=1)
    for number in range(count):
        ring.put(f"t{number % 2}", "a", b"", 0.0)
    held = sum(
        len([answer for answer in ring.answer(thing, RepairRequest(epoch=1, first=1), 0.0) if answer.record])
        for thing in ("t0", "t1")
    )
    assert held == 20_000
