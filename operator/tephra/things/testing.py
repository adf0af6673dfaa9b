"""Try a ThingVisor without a cluster and without a broker: a bus in memory, and a hand on the operator's side.

::

    async with running(HelloWorld, {"period": 0.01}) as trial:
        hello = await trial.entity("hello", "urn:ngsi-ld:HelloSensor:1")
        assert (await trial.command("hello", hello["id"], "set-counter", 7)) == {"counter": 7}

Everything but the broker is real: the runtime, its params, reports, numbering and commands.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from tephra.bus import topics
from tephra.bus.client import BusClient, Endpoint, Session
from tephra.bus.messages import COMMAND, KIND, Command, DeclaredThing, ThingVisorDesired, ThingVisorReport, Unicast
from tephra.bus.mqtt import Delivery
from tephra.things.runtime import Runtime
from tephra.things.thingvisor import ThingVisor

TV = "things.trial"
SILO = "tenant.silo"
_PATIENCE = 5.0

T = TypeVar("T")


class Published(NamedTuple):
    """One message that the ThingVisor published."""

    topic: str
    payload: bytes
    user: Mapping[str, str]


class _Handed(Delivery):
    """A message handed over in memory."""

    __slots__ = ()

    def __init__(self, topic: str, payload: bytes) -> None:
        self.topic, self.payload = topic, payload
        self._flags, self._mid, self._section = 0, 0, b""


class InMemoryBus(BusClient):
    """Keeps what is published, acknowledges at once, and hands over what a test says the ThingVisor receives."""

    def __init__(self) -> None:
        super().__init__(Endpoint("mqtt://in-memory"), Session(client_id=TV))
        self.published: list[Published] = []
        self._changed = asyncio.Event()
        self._greeting: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._greeting = asyncio.create_task(self.reconnect())

    async def reconnect(self) -> None:
        """As after a connection that broke."""
        if self.on_connect:
            await self.on_connect(False)
        self.connected.set()

    async def stop(self) -> None:
        self.connected.clear()

    def publish_nowait(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        user: Mapping[str, str] | None = None,
    ) -> asyncio.Future[None]:
        self.published.append(Published(topic, payload, user or {}))
        self._changed.set()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def subscribe(self, topic_filter: str, *, qos: int = 1, retain_handling: int = 0) -> None:
        pass

    def hand_over(self, topic: str, payload: bytes) -> None:
        """The ThingVisor receives this."""
        if self.on_message:
            self.on_message(_Handed(topic, payload))

    async def find(self, find: Callable[[], T | None]) -> T:
        """Wait until ``find`` gives something; asked again after every publication. TimeoutError after 5 s."""
        async with asyncio.timeout(_PATIENCE):
            while not (found := find()):
                self._changed.clear()
                await self._changed.wait()
        return found


class Trial:
    """A ThingVisor that runs, and what it has said so far."""

    def __init__(self, bus: InMemoryBus, runtime: Runtime) -> None:
        self.bus = bus
        self.runtime = runtime
        self._generation = 0
        self._commands = 0

    @property
    def report(self) -> ThingVisorReport | None:
        """The last report."""
        for message in reversed(self.bus.published):
            if message.topic == topics.tv_out(TV):
                return ThingVisorReport.decode(message.payload)
        return None

    def values(self, thing: str, entity: str) -> list[dict[str, Any]]:
        """Every state of an entity that was published, oldest first."""
        topic = topics.data_out(TV, thing, entity)
        return [orjson.loads(message.payload) for message in self.bus.published if message.topic == topic]

    async def report_when(self, holds: Callable[[ThingVisorReport], object]) -> ThingVisorReport:
        """Wait for a report of which something holds."""
        return await self.bus.find(lambda: self.report if self.report and holds(self.report) else None)

    async def entity(self, thing: str, entity: str) -> dict[str, Any]:
        """Wait until the entity was published; its last state."""
        return (await self.bus.find(lambda: self.values(thing, entity)))[-1]

    async def configure(self, params: Mapping[str, Any], things: Iterable[DeclaredThing] = ()) -> ThingVisorReport:
        """Give it a new spec, as the operator would; the first report that has it in force."""
        self._generation += 1
        desired = ThingVisorDesired(generation=self._generation, params=dict(params), v_things=tuple(things))
        self.bus.hand_over(topics.tv_in(TV), desired.encode())
        return await self.report_when(lambda report: report.observed_generation == desired.generation)

    async def command(self, thing: str, entity: str, name: str, value: Any = None) -> Any:
        """Send a command of quality 2 and wait for its result."""
        self._commands += 1
        command = Command(entity=entity, name=name, id=str(self._commands), value=value, qos=2)
        self.bus.hand_over(topics.data_in(TV, thing, SILO), command.encode())
        answers = await self.bus.find(lambda: self.answers(command.id, Unicast.RESULT))
        return answers[0]

    def answers(self, command: str, kind: Unicast) -> list[Any]:
        """What was sent back for a command: its statuses or its result."""
        return [
            orjson.loads(message.payload)
            for message in self.bus.published
            if message.user.get(COMMAND) == command and message.user[KIND] == kind
        ]


@asynccontextmanager
async def running(
    visor: type[ThingVisor],
    params: Mapping[str, Any] | None = None,
    *,
    things: Iterable[DeclaredThing] = (),
    secret_dir: Path | None = None,
) -> AsyncIterator[Trial]:
    """Run a ThingVisor with these params, declared vThings and Secret files, until the block ends."""
    bus = InMemoryBus()
    trial = Trial(bus, Runtime(visor, TV, bus, secret_dir))
    work = asyncio.create_task(trial.runtime.run())
    try:
        await trial.configure(params or {}, things)
        yield trial
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
