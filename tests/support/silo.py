"""A vSilo controller as its own process between two real Mosquittos, and the far ends that it serves.

The ThingVisor's end here is a bare :class:`Source` on the real client and ring, so that a test decides what is sent,
repeated, or kept back; the tenant's end is :class:`tests.support.tenant.Tenant`.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import orjson

from tephra.bus import topics
from tephra.bus.client import BusClient, Delivery, Endpoint, Session
from tephra.bus.messages import (
    ENTITY,
    EPOCH,
    KIND,
    SEQ,
    THING,
    AttachedThing,
    RepairRequest,
    SiloDesired,
    SiloReport,
    Unicast,
)
from tephra.bus.stream import Ring
from tests.support.mosquitto import Mosquitto, free_port
from tests.support.tenant import Tenant

SILO = "tenant-a.home"
TV = "things.counter"
PERSISTENT = "persistence true\npersistence_location {}/\nautosave_interval 1800\n"
"""A broker that saves only when it is stopped: what it acknowledged since is lost when it is killed."""


def attached(thing: str, *, commands: bool = False) -> AttachedThing:
    """The thing of the source, as granted."""
    return AttachedThing(id=f"things/counter/{thing}", tv=TV, thing=thing, commands=commands)


class Controller:
    """``python3 -m tephra.silos`` with its files and environment as in a pod."""

    def __init__(self, directory: Path, core: Endpoint, broker: Endpoint) -> None:
        self.directory = directory / "controller"
        self.health_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.write("bus", url=core.url, username=core.username or "silo", password=core.password or "x")
        self.write("broker", username=broker.username or "controller", password=broker.password or "x", epoch="0")
        self._environment = {
            "TEPHRA_IDENTITY": SILO,
            "TEPHRA_PROTOCOL": "mqtt",
            "TEPHRA_BUS_DIR": str(self.directory / "bus"),
            "TEPHRA_BROKER_URL": broker.url,
            "TEPHRA_BROKER_DIR": str(self.directory / "broker"),
            "TEPHRA_HEALTH_PORT": str(self.health_port),
        }

    def write(self, folder: str, **files: str) -> None:
        """Write mounted files."""
        (self.directory / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (self.directory / folder / name).write_text(text)

    def start(self, **environment: str) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tephra.silos"],
                env={**os.environ, **self._environment, **environment},
                stdout=log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait; the exit status."""
        assert self._process
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(10)

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of its health server."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.health_port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return int(head.split()[1]), body


class Source:
    """A ThingVisor of one identity: numbers what it publishes, answers repairs, collects commands."""

    def __init__(self, core: Endpoint) -> None:
        self.epoch = time.time_ns() // 1_000_000
        self.ring = Ring(self.epoch)
        self.commands: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue()
        self.repairs: list[RepairRequest] = []
        self.bus = BusClient(
            core._replace(username=f"tv.{TV}"), Session(), on_message=self._received, on_connect=self._greet
        )

    async def __aenter__(self) -> Self:
        self.bus.start()
        await asyncio.wait_for(self.bus.connected.wait(), 5)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bus.stop()

    async def _greet(self, _session_present: bool) -> None:
        await self.bus.subscribe(topics.data_in_filter(TV))
        await self.bus.subscribe(topics.repair_filter(TV))
        for thing in self.ring.things():
            for record in self.ring.last(thing):
                self._send(record.thing, record.entity, record.seq, record.payload)

    def number(self, thing: str, entity: str, value: Any) -> tuple[int, bytes]:
        """Number a message without publishing it: as if the bus had lost it."""
        payload = orjson.dumps({"id": entity, "type": "Counter", "count": {"type": "Property", "value": value}})
        return self.ring.put(thing, entity, payload, asyncio.get_running_loop().time()).seq, payload

    def publish(self, thing: str, entity: str, value: Any) -> "asyncio.Future[None]":
        """Number and publish the next message."""
        seq, payload = self.number(thing, entity, value)
        return self._send(thing, entity, seq, payload)

    def _send(self, thing: str, entity: str, seq: int, payload: bytes) -> "asyncio.Future[None]":
        user = {SEQ: str(seq), EPOCH: str(self.epoch)}
        return self.bus.publish_nowait(topics.data_out(TV, thing, entity), payload, retain=True, user=user)

    def answer(self, thing: str, kind: Unicast, payload: bytes, **user: str) -> None:
        """Say something to the silo alone."""
        self.bus.publish_nowait(topics.silo_data_in(SILO, TV), payload, user={KIND: kind, THING: thing, **user})

    def _received(self, delivery: Delivery) -> None:
        address = topics.parse_thing_topic(delivery.topic)
        if "/data_in/" in delivery.topic:
            self.commands.put_nowait((address.thing, json.loads(delivery.payload)))
            return
        request = RepairRequest.decode(delivery.payload)
        self.repairs.append(request)
        for seq, record in self.ring.answer(address.thing, request, asyncio.get_running_loop().time()):
            user = {SEQ: str(seq), EPOCH: str(self.epoch)}
            if record is None:
                self.answer(address.thing, Unicast.GONE, b"", **user)
            else:
                self.answer(address.thing, Unicast.DATA, record.payload, **user, **{ENTITY: record.entity})


class Operator:
    """What the operator does to a silo: publishes its desired state, reads its report."""

    def __init__(self, core: Endpoint) -> None:
        self.reports: list[SiloReport] = []
        self._changed = asyncio.Event()
        self._generation = 0
        self.bus = BusClient(core._replace(username="operator"), on_message=self._received, on_connect=self._greet)

    async def __aenter__(self) -> Self:
        self.bus.start()
        await asyncio.wait_for(self.bus.connected.wait(), 5)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bus.stop()

    async def _greet(self, _session_present: bool) -> None:
        await self.bus.subscribe(topics.silo_out(SILO))

    def _received(self, delivery: Delivery) -> None:
        self.reports.append(SiloReport.decode(delivery.payload))
        self._changed.set()

    async def desire(self, *things: AttachedThing, **params: Any) -> SiloReport:
        """Publish the next generation and wait until it is reported in force."""
        self._generation += 1
        desired = SiloDesired(generation=self._generation, params=params, v_things=things)
        await self.bus.publish(topics.silo_in(SILO), desired.encode(), retain=True)
        return await self.until(lambda report: report.observed_generation == self._generation)

    async def until(self, holds: Callable[[SiloReport], bool], timeout: float = 10) -> SiloReport:
        """The newest report for which this holds."""
        async with asyncio.timeout(timeout):
            while not (self.reports and holds(self.reports[-1])):
                self._changed.clear()
                await self._changed.wait()
        return self.reports[-1]


class Bench:
    """Everything around one silo."""

    def __init__(self, core: Mosquitto, broker: Mosquitto, controller: Controller) -> None:
        self.core, self.broker, self.controller = core, broker, controller
        self.operator = Operator(core.endpoint())
        self.source = Source(core.endpoint())
        self._tenants: list[Tenant] = []

    def tenant(self, topics_filter: str = "#") -> Tenant:
        """A tenant that has subscribed."""
        tenant = Tenant(self.broker.url, "tenant", "x", None).connect()
        self._tenants.append(tenant)
        tenant.subscribe(topics_filter)
        return tenant

    def close(self) -> None:
        for tenant in self._tenants:
            with suppress(Exception):
                tenant.close()


@asynccontextmanager
async def silo_bench(directory: Path) -> AsyncIterator[Bench]:
    """Both brokers, the controller, a source and an operator, all running."""
    (directory / "saved").mkdir()
    persistent = PERSISTENT.format(directory / "saved")
    with Mosquitto(directory / "core", extra=persistent) as core, Mosquitto(directory / "tenant") as broker:
        controller = Controller(directory, core.endpoint(), broker.endpoint())
        bench = Bench(core, broker, controller)
        controller.start()
        try:
            async with bench.operator, bench.source:
                yield bench
        finally:
            bench.close()
            controller.end(signal.SIGKILL)
