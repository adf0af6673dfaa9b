"""The life of a ThingVisor: from desired state on the bus to its code, and from its code to reports and data.

Desired state (retained on ``TV/<tv>/c_in``) is level-triggered: whatever arrives last is put in force, params first,
then declared vThings, and the report says which generation that was. Neighbours: :mod:`.outbound` (data),
:mod:`.commands`, :mod:`.main` (process).
"""

import asyncio
import logging
import time
from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from tephra.bus import topics
from tephra.bus.client import BusClient, BusError, Delivery
from tephra.bus.messages import (
    Announcement,
    Command,
    DeclaredThing,
    InvalidMessage,
    MakeFailure,
    RepairRequest,
    ThingVisorDesired,
    ThingVisorReport,
)
from tephra.formats.names import InvalidName
from tephra.things.commands import CommandCall, CommandRefused, Commands
from tephra.things.health import Health, SourceError
from tephra.things.outbound import Outbound
from tephra.things.stats import Stats
from tephra.things.thingvisor import MakeError, ThingVisor

log = logging.getLogger(__name__)

_BEGIN = 2.0
"""Seconds that new params may take to show in an announcement before the generation is reported as in force."""
_FIRST_RETRY, _LAST_RETRY = 1.0, 60.0
"""Seconds before ``start`` is called again after it failed: doubling from the first to the last."""


class Runtime:
    """Runs one ThingVisor on a bus client. See :class:`.thingvisor.Host` for what it offers to the author's class."""

    def __init__(self, visor: type[ThingVisor], tv: str, bus: BusClient, secret_dir: Path | None = None) -> None:
        self.stats = Stats()
        self.health = Health(self._changed)
        self._tv = tv
        self._bus = bus
        self._epoch = int(time.time() * 1000)
        self._outbound = Outbound(bus, tv, self._epoch, self.stats)
        self._visor = visor(self, secret_dir)
        self._commands = Commands(self._on_command, self.stats)
        self._desired: ThingVisorDesired | None = None
        self._wanted = asyncio.Event()
        self._generation = -1
        self._params: BaseModel | None = None
        self._params_error = ""
        self._served: dict[str, Announcement] = {}
        self._made: dict[str, Announcement] = {}
        self.announced: Mapping[str, Announcement] = ChainMap(self._made, self._served)
        self._failures: dict[str, MakeFailure] = {}
        self._begun = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._dirty = asyncio.Event()
        self._greetings = 0
        self._withdrawing: set[asyncio.Task[None]] = set()
        bus.on_connect, bus.on_message = self._greet, self._receive
        bus.on_failure = lambda _error: self._outbound.disconnected()

    @property
    def not_ready(self) -> str:
        """Why the pod is not ready; empty when it is."""
        if not self._bus.connected.is_set():
            return f"not connected to the bus: {self._bus.last_error or 'connecting'}"
        return "" if self._generation >= 0 else "the operator has not yet said what to serve"

    def metrics_now(self) -> Stats:
        """The counters, gauges included."""
        self.stats.things_now = len(self.announced)
        self.stats.bus_connected_now = int(self._bus.connected.is_set())
        self.stats.source_healthy_now = int(self.health.now.ok)
        return self.stats

    async def run(self) -> None:
        """Serve until cancelled; then stop the ThingVisor's code and hand over to the bus what is under way."""
        self._bus.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._report())
        finally:
            await self._stop_visor()
            await self._visor.close()
            self._commands.close()
            self._outbound.close()
            await self._bus.stop()

    # -- the bus

    async def _greet(self, _session_present: bool) -> None:
        await self._bus.subscribe(topics.tv_in(self._tv))
        await self._bus.subscribe(topics.data_in_filter(self._tv), retain_handling=2)
        await self._bus.subscribe(topics.repair_filter(self._tv), retain_handling=2)
        await self._outbound.greet()
        self._greetings += 1
        self._changed()  # the broker may have forgotten the report too

    def _receive(self, delivery: Delivery) -> None:
        try:
            if delivery.topic == topics.tv_in(self._tv):
                self._take(delivery.payload)
            else:
                self._take_from_silo(delivery)
        except (InvalidMessage, InvalidName, ValueError) as error:
            log.error("ignored a message on %s: %s", delivery.topic, error)

    def _take(self, payload: bytes) -> None:
        if payload:
            desired = ThingVisorDesired.decode(payload)
            if self._desired is None or desired.generation >= self._desired.generation:
                self._desired = desired
                self._wanted.set()

    def _take_from_silo(self, delivery: Delivery) -> None:
        address = topics.parse_thing_topic(delivery.topic)
        if delivery.topic.split("/")[3] == "repair":
            self._outbound.repair(address.thing, address.silo, RepairRequest.decode(delivery.payload))
        elif not delivery.retain:
            self._commands.take(CommandCall(self._bus, self._tv, address, Command.decode(delivery.payload)))

    async def _on_command(self, call: CommandCall) -> Any:
        announced = self.announced.get(call.thing)
        if announced is None:
            raise CommandRefused(f"thing {call.thing!r} is not served")
        if call.name not in announced.commands:
            known = ", ".join(announced.commands) or "it has none"
            raise CommandRefused(f"thing {call.thing!r} has no command {call.name!r}; known: {known}")
        return await self._visor.on_command(call)

    # -- desired state

    async def _follow(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            assert self._desired is not None
            await self._apply(self._desired)

    async def _apply(self, desired: ThingVisorDesired) -> None:
        """Put a desired state in force, as far as the ThingVisor takes it."""
        before = self._params
        try:
            params: BaseModel = self._visor.Params.model_validate(desired.params)
        except ValidationError as error:
            self._params_error = _short(error)
        else:
            self._params_error = ""
            if params != before:
                await self._use(params)
        if self._params is not None:
            await self._make_declared(desired.v_things, again=self._params != before)
        self._generation = desired.generation
        self._changed()

    async def _use(self, params: BaseModel) -> None:
        running, self._params = self._params is not None, params
        if running and await self._taken_live(params):
            return
        await self._stop_visor()
        self._begun.clear()
        self._starting = asyncio.create_task(self._start(params))
        begun = asyncio.create_task(self._begun.wait())
        await asyncio.wait([begun, self._starting], timeout=_BEGIN, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()

    async def _taken_live(self, params: BaseModel) -> bool:
        try:
            return await self._visor.on_params(params)
        except Exception:
            log.exception("on_params failed; start is called again instead")
            return False

    async def _start(self, params: BaseModel) -> None:
        """Run the author's ``start``, again and again while it fails."""
        delay = _FIRST_RETRY
        while True:
            try:
                await self._visor.start(params)
                return
            except SourceError as error:
                self.health.failing(error.reason, str(error))
            except Exception as error:
                log.exception("start failed; again in %.0f s", delay)
                self.health.crashed(error)
            self._begun.set()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_RETRY)

    async def _stop_visor(self) -> None:
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)

    async def _make_declared(self, declared: Iterable[DeclaredThing], again: bool) -> None:
        wanted = {each.thing: each for each in declared}
        for thing in [thing for thing in self._made if thing not in wanted]:
            del self._made[thing]
            try:
                await self._visor.unmake(thing)
            except Exception:
                log.exception("unmaking thing %r failed; it is withdrawn all the same", thing)
            await self._gone(thing)
        self._failures = {thing: failure for thing, failure in self._failures.items() if thing in wanted}
        for thing, each in wanted.items():
            known = self._made.get(thing) or self._failures.get(thing)
            if again or known is None or known.revision != each.revision:
                await self._make(each)

    async def _make(self, declared: DeclaredThing) -> None:
        thing, revision = declared.thing, declared.revision
        self._failures.pop(thing, None)
        try:
            announcement = await self._visor.make(thing, declared.params)
            self._made[thing] = announcement.model_copy(update={"thing": thing, "revision": revision})
            self._changed()
        except Exception as error:
            if not isinstance(error, MakeError | ValidationError | SourceError):
                log.exception("making thing %r failed", thing)
            message = _short(error) if isinstance(error, ValidationError) else str(error)
            self._failures[thing] = MakeFailure(thing=thing, message=message, revision=revision)

    # -- for the author's class (thingvisor.Host)

    def announce(self, announcements: Iterable[Announcement], *, only: bool) -> None:
        new = {announcement.thing: announcement for announcement in announcements}
        gone = [thing for thing in self._served if thing not in new] if only else []
        if only:
            self._served.clear()
        self._served.update(new)
        self._changed()
        for thing in gone:
            withdrawing = asyncio.create_task(self._gone(thing))
            self._withdrawing.add(withdrawing)
            withdrawing.add_done_callback(self._withdrawing.discard)
        self._begun.set()

    async def withdraw(self, thing: str) -> None:
        if self._served.pop(thing, None):
            await self._gone(thing)

    async def _gone(self, thing: str) -> None:
        self._changed()
        if thing not in self.announced:
            await self._outbound.forget(thing)

    async def send(self, thing: str, entity: str, payload: bytes) -> None:
        if thing not in self.announced:
            raise ValueError(f"thing {thing!r} is not announced; announce it before publishing its entities")
        await self._bus.writable()
        self._outbound.send(thing, entity, payload)
        self.health.alive()

    # -- reports

    def _changed(self) -> None:
        """Something that the report says may have changed."""
        self._dirty.set()

    async def _report(self) -> None:
        """Publish what changed; many changes at once are one report."""
        last = b""
        greeted = 0
        while True:
            await self._dirty.wait()
            await asyncio.sleep(0)
            self._dirty.clear()
            if self._generation < 0:
                continue
            report = self._current().encode()
            if report != last or self._greetings != greeted:
                last, greeted = report, self._greetings
                try:
                    await self._bus.publish(topics.tv_out(self._tv), report, retain=True)
                except BusError as error:  # told by whoever publishes the next change, or after the next greeting
                    log.error("the report was not published: %s", error)

    def _current(self) -> ThingVisorReport:
        return ThingVisorReport(
            observed_generation=self._generation,
            epoch=self._epoch,
            v_things=tuple(self.announced.values()),
            failures=tuple(self._failures.values()),
            health=self.health.now,
            params_error=self._params_error,
        )


def _short(error: ValidationError) -> str:
    """What is wrong with params, in one line: ``cities.0.lat: Input should be a valid number``."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'params'}: {item['msg']}" for item in error.errors()[:5]
    )
