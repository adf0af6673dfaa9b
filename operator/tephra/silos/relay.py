"""The data path: from the bus, through each thing's sequencer, to the tenant's broker, and the acknowledgements back.

A message of the bus is acknowledged when the tenant's broker has acknowledged it (or when it is a duplicate), so a
controller that is killed loses nothing: the bus sends again what was under way. Neighbours: :mod:`tephra.bus.stream`
keeps the order, :mod:`.protocols` writes to the broker, :mod:`.runtime` owns the subscriptions.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tephra.bus import topics
from tephra.bus.client import ConnectionLost, Delivery
from tephra.bus.messages import COMMAND, ENTITY, EPOCH, KIND, NAME, SEQ, THING, AttachedThing, RepairRequest, Unicast
from tephra.bus.stream import Outcome, Sequencer
from tephra.silos.protocols import Answer, Protocol
from tephra.silos.stats import Stats

log = logging.getLogger(__name__)

HOLD_MAXIMUM = 1500
"""Unacknowledged messages above which nothing more is held back behind a hole: less than the receive maximum, so that
the answers that fill the hole always get through."""


class _Item(NamedTuple):
    """One message on its way."""

    entity: str
    delivery: Delivery


class _Stream:
    """One attached thing: its order, and its wake-up call when something is missing."""

    __slots__ = ("lost", "sequencer", "thing", "timer")

    def __init__(self, thing: AttachedThing, sequencer: Sequencer[_Item]) -> None:
        self.thing = thing
        self.sequencer = sequencer
        self.timer: asyncio.TimerHandle | None = None
        self.lost = 0
        """How many of the sequencer's losses are counted already."""


class Relay:
    """Every stream of one silo."""

    def __init__(self, protocol: Protocol, stats: Stats, ask: Callable[[AttachedThing, RepairRequest], None]) -> None:
        self._protocol = protocol
        self._stats = stats
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._streams: dict[str, _Stream] = {}
        self._by_name: dict[tuple[str, str], _Stream] = {}
        """By ThingVisor and thing, as topics and unicast messages name them."""
        self._routes: dict[str, tuple[_Stream, str]] = {}
        """Stream and entity of every ``data_out`` topic met: what the hot path looks up."""

    # -- which things

    @property
    def things(self) -> list[AttachedThing]:
        """Everything that is served now."""
        return [stream.thing for stream in self._streams.values()]

    def get(self, thing_id: str) -> AttachedThing | None:
        """The thing as it is served now, if it is."""
        stream = self._streams.get(thing_id)
        return stream.thing if stream else None

    def add(self, thing: AttachedThing, *, resumed: bool) -> None:
        """Serve a thing; a known one keeps its stream. ``resumed``: its backlog is on its way."""
        stream = self._streams.get(thing.id)
        if stream is None:
            room = lambda: self._stats.unacknowledged_now < HOLD_MAXIMUM  # noqa: E731
            stream = _Stream(thing, Sequencer(self._loop.time(), resumed=resumed, room=room))
            self._streams[thing.id] = self._by_name[thing.tv, thing.thing] = stream
        stream.thing = thing

    def remove(self, thing: AttachedThing) -> None:
        """Serve it no more. What was held back of it is acknowledged: nobody wants it."""
        stream = self._streams.pop(thing.id)
        del self._by_name[thing.tv, thing.thing]
        self._routes = {topic: route for topic, route in self._routes.items() if route[0] is not stream}
        if stream.timer:
            stream.timer.cancel()
        for item in stream.sequencer.close():
            self._acknowledge(item.delivery)

    def refresh(self, things: Iterable[AttachedThing]) -> None:
        """Have the last values sent and deliver them even when they are not new: the broker may have lost them."""
        for thing in things:
            self._ask(thing, self._streams[thing.id].sequencer.refresh(self._loop.time()))

    def reconnected(self, things: Iterable[AttachedThing]) -> None:
        """The bus is back: open holes get their full time again, and last values show what was missed at the end."""
        for thing in things:
            stream = self._streams.get(thing.id)
            if stream and (request := stream.sequencer.reconnected(self._loop.time())):
                self._ask(thing, request)
            self._ask(thing, RepairRequest())

    # -- data

    def data(self, delivery: Delivery) -> None:
        """A message on a ``data_out`` topic. The hot path."""
        self._stats.unacknowledged_now += 1
        try:
            stream, entity = self._routes.get(delivery.topic) or self._route(delivery.topic)
            user = delivery.user
            epoch, seq = int(user[EPOCH]), int(user[SEQ])
        except (KeyError, ValueError) as error:  # not attached (any more), or nothing of ours
            log.debug("dropped a message on %s: %r", delivery.topic, error)
            self._acknowledge(delivery)
            return
        item = _Item(entity, delivery)
        self._act(stream, stream.sequencer.offer(epoch, seq, entity, item, self._loop.time(), retained=delivery.retain))

    def _route(self, topic: str) -> tuple[_Stream, str]:
        tv, thing, entity = topics.parse_data_out(topic)
        route = self._routes[topic] = self._by_name[tv, thing], entity
        return route

    def unicast(self, delivery: Delivery, tv: str) -> None:
        """A message of a ThingVisor to this silo alone: a repair, a last value, or the answer to a command."""
        self._stats.unacknowledged_now += 1
        user, now = delivery.user, self._loop.time()
        try:
            kind, stream = Unicast(user[KIND]), self._by_name[tv, user[THING]]
            if kind is Unicast.DATA:
                item = _Item(user[ENTITY], delivery)
                outcome = stream.sequencer.offer(int(user[EPOCH]), int(user[SEQ]), item.entity, item, now, unicast=True)
                self._act(stream, outcome)
                return
            if kind is Unicast.GONE:
                self._act(stream, stream.sequencer.gone(int(user[EPOCH]), int(user[SEQ]), now))
            else:
                self._answer(stream.thing, kind, user, delivery)
                return
        except (KeyError, ValueError) as error:
            log.debug("dropped a message on %s: %r", delivery.topic, error)
        self._acknowledge(delivery)

    def _answer(self, thing: AttachedThing, kind: Unicast, user: dict[str, str], delivery: Delivery) -> None:
        answer = Answer(kind, user[ENTITY], user[COMMAND], user[NAME], delivery.payload)
        self._protocol.answer(thing, answer).add_done_callback(lambda done: self._written(done, delivery))
        self._stats.answers_total += 1

    def _act(self, stream: _Stream, outcome: Outcome[_Item]) -> None:
        """Do what the sequencer decided."""
        for item in outcome.deliver:
            self._deliver(stream.thing, item)
        if outcome.drop:
            self._stats.duplicates_total += len(outcome.drop)
            for item in outcome.drop:
                self._acknowledge(item.delivery)
        if outcome.ask:
            self._ask(stream.thing, outcome.ask)
        if stream.timer or stream.sequencer.deadline is not None:
            self._watch(stream)

    def _deliver(self, thing: AttachedThing, item: _Item) -> None:
        entity, delivery = item
        done = self._protocol.deliver(thing, entity, delivery.payload)
        done.add_done_callback(lambda done: self._written(done, delivery))

    def _written(self, done: "asyncio.Future[None]", delivery: Delivery) -> None:
        """The tenant's broker has answered."""
        if done.cancelled() or isinstance(error := done.exception(), ConnectionLost):
            return  # not acknowledged on the bus: it comes again, to us or to our successor
        if error is None:
            self._stats.delivered_total += 1
        else:
            self._stats.refused_total += 1
            log.error("the tenant's broker refused %s: %s", delivery.topic, error)
        self._acknowledge(delivery)

    def _acknowledge(self, delivery: Delivery) -> None:
        self._stats.unacknowledged_now -= 1
        delivery.ack()

    # -- holes

    def _watch(self, stream: _Stream) -> None:
        """Count what was given up, and wake up when the sequencer has something to do."""
        if lost := stream.sequencer.lost - stream.lost:
            stream.lost += lost
            self._stats.lost_total += lost
            log.error("%s: %d messages are lost; neither the bus nor the ThingVisor has them", stream.thing.id, lost)
        if stream.timer:
            stream.timer.cancel()
        deadline = stream.sequencer.deadline
        stream.timer = self._loop.call_at(deadline, self._tick, stream) if deadline is not None else None

    def _tick(self, stream: _Stream) -> None:
        self._act(stream, stream.sequencer.tick(self._loop.time()))
