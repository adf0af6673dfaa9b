"""The controller at work: follow the desired state, keep both connections, report what is in force.

Level-triggered like the operator: :class:`SiloDesired` says which vThings are to be served, :meth:`Runtime._apply`
makes the difference to what is served now, :class:`SiloReport` says how far it got; nothing depends on having seen
every message. The data path itself is :class:`tephra.silos.relay.Relay`; the broker is behind
:class:`tephra.silos.protocols.Protocol`.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable

from tephra.bus import topics
from tephra.bus.client import BusClient, BusError, ConnectionLost, Delivery, Session
from tephra.bus.messages import (
    AttachedThing,
    Attachment,
    AttachmentState,
    Command,
    InvalidMessage,
    RepairRequest,
    SiloDesired,
    SiloReport,
)
from tephra.pod import probes
from tephra.silos.config import Settings
from tephra.silos.protocols import BrokerError, Handler, make
from tephra.silos.relay import Relay
from tephra.silos.stats import Stats

log = logging.getLogger(__name__)

RECEIVE_MAXIMUM = 2000
"""Messages of the bus under way to the tenant's broker; the rest waits at the bus."""
_RETRY = 2.0
"""Seconds until a refused subscription is tried again: its grant may be on its way."""
_ALWAYS, _IF_NEW = 0, 1
"""Retain handling: a resumed subscription does not repeat retained values, which would overtake its backlog. One for a
thing that is new to us does, for the session may hold a subscription of an earlier life."""


class Runtime:
    """One controller. :meth:`run` lives until it is cancelled."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stats = Stats()
        self._report_due = asyncio.Event()
        self._epoch = time.time_ns() // 1_000_000
        self._bus = BusClient(
            settings.bus_dir,
            Session(manual_ack=True, receive_maximum=RECEIVE_MAXIMUM),
            on_message=self._received,
            on_connect=self._greet,
        )
        handler = Handler(self._command, self._refused, self._broker_connected, self._report_due.set)
        self._protocol = make(settings, handler)
        self._relay = Relay(self._protocol, self._stats, self._ask)
        self._desired: SiloDesired | None = None
        self._wanted = asyncio.Event()
        self._in_force: SiloDesired | None = None
        self._open = False
        """The first desired state has come: data flow."""
        self._failures: dict[str, str] = {}
        self._early: list[Delivery] = []
        """What came before the desired state was known: a resumed session sends its backlog first."""
        self._resumed = self._broker_met = False
        self._sweep_due = True
        """The broker may hold values of things that were detached while it or we were away."""
        self._credentials_epoch = 0
        self._reported: SiloReport | None = None
        self._control_topic = topics.silo_in(settings.silo)

    async def run(self) -> None:
        """Serve; on cancellation hand over what is under way and stop."""
        self._bus.start()
        await self._protocol.start()
        try:
            async with await probes.serve(self._settings.health_port, self._metrics, self._not_ready):
                await asyncio.gather(self._follow(), self._report())
        finally:
            self._bus.on_message = None  # what comes now goes to the successor
            await self._protocol.stop()
            await self._bus.stop()

    # -- the bus

    async def _greet(self, session_present: bool) -> None:
        """After every connection, before anything else: the control topic, then every thing with its last values."""
        self._resumed = session_present
        served = self._relay.things  # what the desired state adds meanwhile is subscribed in :meth:`_apply`
        # QoS 0 while nothing is known: a resumed session's backlog fills the receive maximum, and it can only flow on
        # when the desired state has come; QoS 0 is not counted.
        await self._bus.subscribe(self._control_topic, qos=1 if self._desired else 0)
        await self._subscribe(served, _IF_NEW)
        self._relay.reconnected(served)
        self._reported = None
        self._report_due.set()

    def _received(self, delivery: Delivery) -> None:
        """Every message of the bus: the hot path."""
        topic = delivery.topic
        if topic == self._control_topic:
            self._control(delivery)
        elif not self._open:
            self._early.append(delivery)
        elif topic.startswith("vThing/"):
            self._relay.data(delivery)
        else:
            self._relay.unicast(delivery, topic.rpartition("/")[2])

    def _control(self, delivery: Delivery) -> None:
        try:
            if delivery.payload:
                self._desired = SiloDesired.decode(delivery.payload)
                self._wanted.set()
        except InvalidMessage as error:
            log.error("%s: %s; the last desired state stays in force", delivery.topic, error)
        delivery.ack()

    def _ask(self, thing: AttachedThing, request: RepairRequest) -> None:
        """Ask a ThingVisor to send something again."""
        self._stats.repairs_total += 1
        self._bus.publish_nowait(topics.repair(thing.tv, thing.thing, self._settings.silo), request.encode())

    async def _command(self, thing: AttachedThing, command: Command) -> None:
        try:
            await self._bus.publish(topics.data_in(thing.tv, thing.thing, self._settings.silo), command.encode())
        except ConnectionLost:
            raise
        except BusError as error:
            self._refused(f"command {command.name!r} to {thing.id}: {error}")
        else:
            self._stats.commands_total += 1

    def _refused(self, why: str) -> None:
        self._stats.commands_refused_total += 1
        log.warning("refused a tenant's command: %s", why)

    # -- the broker

    def _broker_connected(self) -> None:
        """What the broker holds may be gone: have every last value sent again."""
        with contextlib.suppress(OSError, ValueError):
            self._credentials_epoch = int((self._settings.broker_dir / "epoch").read_text())
        self._report_due.set()
        if self._broker_met:
            self._relay.refresh(self._relay.things)
            self._sweep_due = True
            self._wanted.set()
        self._broker_met = True

    # -- desired state

    async def _follow(self) -> None:
        """Apply the desired state whenever it changes, and again later when something was refused."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY if self._failures else None):
                    await self._wanted.wait()
            self._wanted.clear()
            if self._desired is not None:
                await self._apply(self._desired)
                self._report_due.set()

    async def _apply(self, desired: SiloDesired) -> None:
        """Make the difference between what is served and what is desired."""
        try:
            if await self._protocol.configure(desired.params):
                self._relay.refresh(self._relay.things)
        except BrokerError as error:  # params have passed the flavour's schema: the flavour and we disagree
            log.error("params of generation %d: %s", desired.generation, error)
        wanted = {thing.id: thing for thing in desired.v_things}
        gone = [thing for thing in self._relay.things if thing.id not in wanted]
        new = [thing for thing in wanted.values() if self._relay.get(thing.id) != thing or thing.id in self._failures]
        for thing in gone:
            self._relay.remove(thing)
            self._failures.pop(thing.id, None)
        resumed = self._resumed and not self._open
        for thing in new:
            self._relay.add(thing, resumed=resumed)
        await self._let_flow()
        await self._subscribe(new, _IF_NEW if resumed else _ALWAYS)
        if resumed:
            self._relay.refresh(new)
        for thing in gone:
            await self._withdraw(thing)
        self._in_force = desired
        if self._sweep_due:
            self._sweep_due = False
            await self._protocol.sweep()

    async def _let_flow(self) -> None:
        """Once the first desired state is known: what a resumed session sent before goes first."""
        if self._open:
            return
        self._open, early, self._early = True, self._early, []
        for delivery in early:
            self._received(delivery)
        with contextlib.suppress(ConnectionLost):  # then the next greeting does it
            await self._bus.subscribe(self._control_topic)

    async def _subscribe(self, things: Iterable[AttachedThing], retain_handling: int) -> None:
        """Subscribe to all things at once; a refusal is remembered, reported, and tried again."""
        things = list(things)
        await asyncio.gather(*(self._attach_sender(tv) for tv in {thing.tv for thing in things}))
        await asyncio.gather(*(self._attach(thing, retain_handling) for thing in things))
        self._report_due.set()

    async def _attach_sender(self, tv: str) -> None:
        """The topic on which the ThingVisor answers this silo alone."""
        with contextlib.suppress(BusError):  # a refusal shows at the thing itself
            await self._bus.subscribe(topics.silo_data_in(self._settings.silo, tv))

    async def _attach(self, thing: AttachedThing, retain_handling: int) -> None:
        try:
            await self._protocol.attached(thing)
            await self._bus.subscribe(topics.data_out_filter(thing.tv, thing.thing), retain_handling=retain_handling)
        except ConnectionLost:
            return  # the next greeting attaches again
        except (BusError, BrokerError) as error:
            self._failures[thing.id] = str(error)
            log.warning("cannot attach %s: %s; trying again every %.0f s", thing.id, error, _RETRY)
            return
        self._failures.pop(thing.id, None)

    async def _withdraw(self, thing: AttachedThing) -> None:
        with contextlib.suppress(BusError):  # no connection: the session's leftovers find no stream and are dropped
            await self._bus.unsubscribe(topics.data_out_filter(thing.tv, thing.thing))
            if not any(other.tv == thing.tv for other in self._relay.things):
                await self._bus.unsubscribe(topics.silo_data_in(self._settings.silo, thing.tv))
        await self._protocol.detached(thing)

    # -- what the world may know

    async def _report(self) -> None:
        """Publish the report, retained, whenever it changes."""
        while True:
            await self._report_due.wait()
            self._report_due.clear()
            if (report := self._current()) != self._reported:
                self._reported = report
                await self._bus.publish(topics.silo_out(self._settings.silo), report.encode(), retain=True)

    def _current(self) -> SiloReport:
        desired, waits = self._in_force, self._protocol.not_ready
        return SiloReport(
            observed_generation=desired.generation if desired else -1,
            revision=desired.revision if desired else "",
            epoch=self._epoch,
            broker_ready=not waits,
            broker_message=waits,
            credentials_epoch=self._credentials_epoch,
            v_things=tuple(self._attachment(thing.id) for thing in desired.v_things) if desired else (),
        )

    def _attachment(self, thing: str) -> Attachment:
        if thing in self._failures:
            return Attachment(id=thing, state=AttachmentState.FAILED, message=self._failures[thing])
        return Attachment(id=thing, state=AttachmentState.ATTACHED)

    def _not_ready(self) -> str:
        """The tenant's view: its broker is up and was set up once; an outage of the bus does not end that."""
        if self._in_force is None:
            return f"no desired state from the bus yet: {self._bus.last_error or 'connected, waiting'}"
        return self._protocol.not_ready

    def _metrics(self) -> bytes:
        self._stats.attached_now = len(self._relay.things) - len(self._failures)
        self._stats.bus_connected_now = int(self._bus.connected.is_set())
        self._stats.broker_connected_now = int(not self._protocol.not_ready)
        return probes.metrics("tephra_silo", self._stats)
