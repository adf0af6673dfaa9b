"""The operator's side of the core bus: what it holds, what its reports say, and what is to be changed on it.

Everything known of the bus is read from the bus: at every connection the authoriser lists who has access, and the
retained control messages arrive by subscription; a mark that the operator sends itself tells when they all have. A plan
is then compared with that, so nothing is sent that the broker holds already; and after a broker lost something
(it forgets what it had not saved when killed) the engine only has to plan everything again: ``Listener.connected``.
Edits of control topics by others are seen the same way and undone by the object's next plan.

Entities of vThings are retained too but many, so they are looked through only now and then, for the sweep.
Neighbours: :mod:`.authorisers` put roles in force, :mod:`.perform` calls, :mod:`tephra.bus` has names and client.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain, count
from typing import TypeVar

from tephra.act.authorisers import Authoriser, BusUnavailable
from tephra.bus import topics
from tephra.bus.client import BusClient, BusError, Delivery, NotAuthorized, Session
from tephra.bus.messages import InvalidMessage, SiloReport, ThingVisorReport
from tephra.bus.roles import Role
from tephra.formats.names import InvalidName, parse_bus_identity
from tephra.plan.base import BusState, Key

log = logging.getLogger(__name__)

SCAN_EVERY_S = 600.0
_MARK_S = 60.0
"""Seconds within which everything retained must have arrived."""
_CONTROL = (topics.TV_IN_FILTER, topics.TV_OUT_FILTER, topics.SILO_IN_FILTER, topics.SILO_OUT_FILTER)
_KINDS = {"TV": "ThingVisor", "vSilo": "VSilo"}

Report = TypeVar("Report")


@dataclass(frozen=True, slots=True)
class Listener:
    """Whom to tell. ``reported``: this object's component said something, or its control topic was tampered with.
    ``connected``: what the bus holds may be anything now. ``scanned``: ``BusState.retained`` is complete."""

    reported: Callable[[Key], None]
    connected: Callable[[], None]
    scanned: Callable[[], None]


class BusControl:
    """One per operator; does nothing before :meth:`run`."""

    def __init__(self, authoriser: Authoriser, listener: Listener) -> None:
        self._authoriser, self._listener = authoriser, listener
        self._bus: BusClient | None = None
        self._held: dict[str, bytes] = {}  # retained control messages
        self._data: set[str] = set()  # retained data_out topics when last looked
        self._looking: tuple[str, set[str]] | None = None
        self._one_look = asyncio.Lock()
        self._thing_visors: dict[str, ThingVisorReport] = {}
        self._silos: dict[str, SiloReport] = {}
        self._marks: dict[bytes, asyncio.Future[None]] = {}
        self._numbers = count(1)
        self._complete = False
        self._refused: asyncio.Future[None] | None = None
        self._announcing: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether everything that the bus holds is known, and it can be changed."""
        return self._complete and self._bus is not None and self._bus.connected.is_set()

    @property
    def state(self) -> BusState:
        """For planners: cheap, with live views; read it and let it go."""
        return BusState(
            connected=self.connected,
            enforced=self._authoriser.enforced,
            thing_visors=self._thing_visors,
            silos=self._silos,
            retained=_Both(self._held.keys(), self._data),
            identities=self._authoriser.identities,
        )

    # --- the connection

    async def run(self, epoch: int) -> None:
        """Work as the leader of this epoch until cancelled; raises :class:`.authorisers.Fenced` when there is a later
        one. When the broker does not know us (any more), the account is made again."""
        while True:
            account = await self._authoriser.account(epoch)
            session = Session(client_id=account.username, clean_start=True, expiry=0)
            self._refused = asyncio.get_running_loop().create_future()
            self._bus = BusClient(
                account, session, on_message=self._receive, on_connect=self._greet, on_failure=self._failed
            )
            async with self._bus, asyncio.TaskGroup() as tasks:
                scanner = tasks.create_task(self._scan_now_and_then(), name="bus scan")
                await self._refused
                scanner.cancel()

    def _failed(self, error: Exception) -> None:
        self._complete = False
        self._authoriser.lost()
        for mark in self._marks.values():
            if not mark.done():
                mark.set_exception(BusUnavailable("the connection to the bus broke"))
        if isinstance(error, NotAuthorized) and self._refused and not self._refused.done():
            self._refused.set_result(None)

    async def _greet(self, _session_present: bool) -> None:
        assert self._bus is not None
        self._held = {}
        await self._authoriser.open(self._bus)
        for topic_filter in (topics.MARK, *_CONTROL):
            await self._bus.subscribe(topic_filter)
        await self._all_arrived()
        self._complete = True
        self._announcing = asyncio.create_task(self._announce(), name="bus connected")

    async def _announce(self) -> None:
        assert self._bus is not None
        await self._bus.connected.wait()
        self._listener.connected()

    async def _all_arrived(self) -> None:
        """Wait until what was subscribed to before has been delivered: the broker keeps the order (MQTT 5.0 §4.6)."""
        assert self._bus is not None
        mark = b"%d" % next(self._numbers)
        arrived = self._marks[mark] = asyncio.get_running_loop().create_future()
        try:
            self._bus.publish_nowait(topics.MARK, mark)
            async with asyncio.timeout(_MARK_S):
                await arrived
        finally:
            del self._marks[mark]

    # --- what it says

    def _receive(self, delivery: Delivery) -> None:
        topic = delivery.topic
        if self._authoriser.receive(delivery):
            return
        if topic == topics.MARK:
            mark = self._marks.get(delivery.payload)
            if mark and not mark.done():
                mark.set_result(None)
        elif topic.startswith("vThing/"):
            if self._looking and delivery.retain and topic.startswith(self._looking[0]):
                self._looking[1].add(topic)
        else:
            self._file(topic, delivery.payload)

    def _file(self, topic: str, payload: bytes) -> None:
        """A control message; what is new in it concerns its object."""
        if self._held.get(topic, b"") == payload:
            return
        if payload:
            self._held[topic] = payload
        else:
            self._held.pop(topic, None)
        level, identity, direction = topic.split("/")
        try:
            key = Key(_KINDS[level], *parse_bus_identity(identity))
            if direction == "c_out":
                self._believe(level, identity, payload)
        except (InvalidMessage, InvalidName) as error:
            log.warning("ignored what came on %s: %s", topic, error)
            return
        self._listener.reported(key)

    def _believe(self, level: str, identity: str, payload: bytes) -> None:
        if level == "TV":
            _put(self._thing_visors, identity, ThingVisorReport.decode(payload) if payload else None)
        else:
            _put(self._silos, identity, SiloReport.decode(payload) if payload else None)

    # --- what is to be changed

    async def publish(self, topic: str, payload: bytes | None, *, retain: bool) -> None:
        """Publish; returns when acknowledged. A retained message that the broker holds already is not sent."""
        bus, message = self._working(), payload or b""
        if not retain:
            await bus.publish(topic, message)
            return
        if self._held.get(topic, b"") == message and topic not in self._data:
            return
        is_control = not topic.startswith("vThing/")
        if is_control:
            self._held[topic] = message  # before our own echo comes, which is no news then
        try:
            await bus.publish(topic, message, retain=True)
        except (BusError, asyncio.CancelledError):
            self._held.pop(topic, None)
            raise
        if not message:
            self._held.pop(topic, None)
            self._data.discard(topic)

    async def grant(self, identity: str, password: str, role: Role) -> None:
        """Give an identity its password and role; in force on return. A no-op when it is so."""
        self._working()
        await self._authoriser.grant(identity, password, role)

    async def forget(self, identity: str) -> None:
        """Withdraw an identity (``tv.…``, ``silo.…``) and everything retained that it or we said about it."""
        self._working()
        await self._authoriser.forget(identity)
        kind, _, name = identity.partition(".")
        if kind == "tv":
            self._thing_visors.pop(name, None)
            mine = {topics.tv_in(name), topics.tv_out(name)}
            mine |= await self._look(topics.tv_data_out_filter(name), f"vThing/{name}/")
        else:
            self._silos.pop(name, None)
            mine = {topics.silo_in(name), topics.silo_out(name)}
        self._data |= {topic for topic in mine if topic.startswith("vThing/")}
        await asyncio.gather(*(self.publish(topic, None, retain=True) for topic in mine))

    def _working(self) -> BusClient:
        if not self.connected or self._bus is None:
            cause = self._bus.last_error if self._bus else "not leading"
            raise BusUnavailable(f"not connected to the bus ({cause or 'connecting'})")
        return self._bus

    # --- looking through the entities

    async def scan(self) -> None:
        """Look through all retained entities."""
        self._data = await self._look(topics.DATA_OUT_FILTER, "vThing/")
        self._listener.scanned()

    async def _scan_now_and_then(self) -> None:
        assert self._bus is not None
        while True:
            await self._bus.connected.wait()
            with contextlib.suppress(BusUnavailable, BusError):  # a reconnection comes, and a next time
                await self.scan()
            await asyncio.sleep(SCAN_EVERY_S)

    async def _look(self, topic_filter: str, prefix: str) -> set[str]:
        """Retained topics that match, by subscribing for a moment."""
        bus = self._working()
        async with self._one_look:
            found: set[str] = set()
            self._looking = prefix, found
            try:
                await bus.subscribe(topic_filter)
                await self._all_arrived()
                await bus.unsubscribe(topic_filter)
            finally:
                self._looking = None
        return found


class _Both(Collection[str]):
    """Two collections as one, without a copy."""

    def __init__(self, one: Collection[str], other: Collection[str]) -> None:
        self._parts = one, other

    def __contains__(self, item: object) -> bool:
        return any(item in part for part in self._parts)

    def __iter__(self) -> Iterator[str]:
        return chain(*self._parts)

    def __len__(self) -> int:
        return sum(map(len, self._parts))


def _put(reports: dict[str, Report], identity: str, report: Report | None) -> None:
    if report is None:
        reports.pop(identity, None)
    else:
        reports[identity] = report
