"""Everything a ThingVisor sends to silos: numbered entities, the last ones again after a reconnection, and repairs.

See contracts §3 and :mod:`tephra.bus.stream` for why. Neighbour: :mod:`.runtime` owns the one :class:`Outbound`.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from tephra.bus import topics
from tephra.bus.client import BusError
from tephra.bus.messages import ENTITY, EPOCH, KIND, SEQ, THING, RepairRequest, Unicast
from tephra.bus.stream import Answer, Record, Ring
from tephra.things.stats import Stats

log = logging.getLogger(__name__)


class Bus(Protocol):
    """What is needed of :class:`tephra.bus.client.BusClient`."""

    def publish_nowait(
        self, topic: str, payload: bytes, *, retain: bool = False, user: Mapping[str, str] | None = None
    ) -> "asyncio.Future[None]": ...

    async def writable(self) -> None: ...


class Outbound:
    """The data streams of one ThingVisor's life."""

    def __init__(self, bus: Bus, tv: str, epoch: int, stats: Stats) -> None:
        self._bus = bus
        self._tv = tv
        self._epoch = str(epoch)
        self._stats = stats
        self._ring = Ring(epoch)
        self._loop = asyncio.get_running_loop()
        self._away_since: float | None = None
        self._away = 0.0
        """Seconds without a connection so far."""
        self._topics: dict[tuple[str, str], str] = {}
        self._under_way: dict[tuple[str, str], asyncio.Future[None]] = {}
        """The last publication of every entity, until it is acknowledged."""
        self._repairs: dict[tuple[str, str, bool], asyncio.Task[None]] = {}
        self._refusal = ""

    def _clock(self) -> float:
        """The ring's time. It stands still without a connection: what the broker forgot when it was killed is asked for
        when it is back, however long that takes."""
        return (self._loop.time() if self._away_since is None else self._away_since) - self._away

    def disconnected(self) -> None:
        """There is no connection to the bus."""
        if self._away_since is None:
            self._away_since = self._loop.time()

    def send(self, thing: str, entity: str, payload: bytes) -> "asyncio.Future[None]":
        """Publish one entity (empty payload: it is gone); the future is done when the bus has it."""
        record = self._ring.put(thing, entity, payload, self._clock())
        self._stats.published_total += 1
        return self._publish(record)

    def _publish(self, record: Record) -> "asyncio.Future[None]":
        key = record.thing, record.entity
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = topics.data_out(self._tv, *key)
        user = {SEQ: str(record.seq), EPOCH: self._epoch}
        done = self._bus.publish_nowait(topic, record.payload, retain=True, user=user)
        self._under_way[key] = done
        done.add_done_callback(lambda done: self._acknowledged(key, done))
        return done

    def _acknowledged(self, key: tuple[str, str], done: "asyncio.Future[None]") -> None:
        if self._under_way.get(key) is done:
            del self._under_way[key]
        if not done.cancelled() and (error := done.exception()):
            self._stats.refused_total += 1
            if str(error) != self._refusal:
                self._refusal = str(error)
                log.error("entity %s of %s was not published: %s", key[1], key[0], error)

    async def forget(self, thing: str) -> None:
        """The thing is withdrawn: its entities are gone."""
        for record in self._ring.last(thing):
            await self._bus.writable()
            self.send(thing, record.entity, b"")

    async def greet(self) -> None:
        """After a (re)connection: the broker may have forgotten what it acknowledged, so say the last values again.

        What is still under way goes out by itself.
        """
        if self._away_since is not None:
            self._away += self._loop.time() - self._away_since
            self._away_since = None
        records = [record for thing in self._ring.things() for record in self._ring.last(thing)]
        await asyncio.gather(*[self._publish(record) for record in records if not self._is_under_way(record)])

    def _is_under_way(self, record: Record) -> bool:
        done = self._under_way.get((record.thing, record.entity))
        return done is not None and not done.done()

    def repair(self, thing: str, silo: str, request: RepairRequest) -> None:
        """Answer a silo that misses messages, or wants last values.

        One answer of each kind at a time: a silo asks again for what is still missing.
        """
        key = silo, thing, request.first is None
        if key in self._repairs:
            return
        answering = asyncio.create_task(self._answer(thing, silo, request))
        self._repairs[key] = answering
        answering.add_done_callback(lambda _: self._repairs.pop(key))

    async def _answer(self, thing: str, silo: str, request: RepairRequest) -> None:
        topic = topics.silo_data_in(silo, self._tv)
        answers = list(self._ring.answer(thing, request, self._clock()))
        for answer in answers:
            await self._bus.writable()
            payload, user = self._unicast(thing, answer)
            last = self._bus.publish_nowait(topic, payload, user=user)
        if answers:
            self._stats.repaired_total += len(answers)
            try:
                await last
            except BusError as error:
                log.warning("could not answer silo %s about %s: %s", silo, thing, error)

    def _unicast(self, thing: str, answer: Answer) -> tuple[bytes, dict[str, str]]:
        user = {SEQ: str(answer.seq), EPOCH: self._epoch, THING: thing}
        if answer.record is None:
            return b"", {KIND: Unicast.GONE, **user}
        return answer.record.payload, {KIND: Unicast.DATA, ENTITY: answer.record.entity, **user}

    def close(self) -> None:
        for answering in self._repairs.values():
            answering.cancel()
