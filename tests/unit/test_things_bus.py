"""A ThingVisor on a real Mosquitto under its own role: refusals, a killed broker, and a silo that misses nothing."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tephra.bus import topics
from tephra.bus.client import BusClient, Delivery, Session
from tephra.bus.messages import (
    ENTITY,
    EPOCH,
    KIND,
    SEQ,
    AttachedThing,
    RepairRequest,
    ThingVisorDesired,
    ThingVisorReport,
    Unicast,
)
from tephra.bus.roles import operator_role, silo_role, thing_visor_role
from tephra.bus.stream import Outcome, Ring, Sequencer
from tephra.things import Params, ThingVisor, outbound
from tephra.things.runtime import Runtime
from tests.support.mosquitto import Mosquitto, free_port

TV, SILO = "things.counter", "tenant.home"


class Counter(ThingVisor):
    """Counts on three entities, as fast as it is told."""

    class Params(Params):
        period: float = 0.005

    async def start(self, params: Params) -> None:
        await self.announce("n")
        number = 0
        while True:
            number += 1
            await self.publish("n", [{"id": f"urn:e{number % 3}", "type": "N", "n": number}])
            await asyncio.sleep(params.period)


class Silo:
    """A receiver as silo controllers are: sequencer, repair requests, no memory but that."""

    def __init__(self, bus: BusClient) -> None:
        self.bus = bus
        self.numbers: list[int] = []
        self.arrived = asyncio.Event()
        self.sequencer: Sequencer[int] = Sequencer(asyncio.get_running_loop().time())
        bus.on_connect, bus.on_message = self.greet, self.receive

    async def greet(self, _session_present: bool) -> None:
        await self.bus.subscribe(topics.data_out_filter(TV, "n"), retain_handling=1)
        await self.bus.subscribe(topics.silo_data_in(SILO, TV), retain_handling=2)
        if ask := self.sequencer.reconnected(asyncio.get_running_loop().time()):
            self.ask(ask)

    def ask(self, request: RepairRequest) -> None:
        self.bus.publish_nowait(topics.repair(TV, "n", SILO), request.encode())

    def receive(self, delivery: Delivery) -> None:
        user, now = delivery.user, asyncio.get_running_loop().time()
        epoch, seq = int(user[EPOCH]), int(user[SEQ])
        if user.get(KIND) == Unicast.GONE:
            self.take(self.sequencer.gone(epoch, seq, now))
            return
        entity = user.get(ENTITY) or topics.parse_data_out(delivery.topic).entity
        unicast = KIND in user
        self.take(self.sequencer.offer(epoch, seq, entity, seq, now, retained=delivery.retain, unicast=unicast))

    def take(self, outcome: Outcome[int]) -> None:
        self.numbers += outcome.deliver
        if outcome.ask:
            self.ask(outcome.ask)
        self.arrived.set()

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.take(self.sequencer.tick(asyncio.get_running_loop().time()))

    async def reach(self, number: int) -> None:
        async with asyncio.timeout(30):
            while not self.numbers or self.numbers[-1] < number:
                self.arrived.clear()
                await self.arrived.wait()


@asynccontextmanager
async def task(work: Any) -> AsyncIterator[None]:
    running = asyncio.create_task(work)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def say(bus: BusClient, generation: int, **params: Any) -> None:
    desired = ThingVisorDesired(generation=generation, params=params)
    await bus.publish(topics.tv_in(TV), desired.encode(), retain=True)


PERSISTENT = "persistence true\npersistence_location {}/\nautosave_on_changes true\nautosave_interval 50\n"


@pytest.mark.parametrize("memory", ["", PERSISTENT], ids=["forgetful", "persistent"])
async def test_a_broker_killed_again_and_again_loses_nothing(tmp_path: Path, memory: str) -> None:
    """With persistence it comes back with an older state: sessions, backlog and retained values of its last save."""
    kills = 3
    with Mosquitto(tmp_path, extra=memory.format(tmp_path)) as broker:
        operator = BusClient(broker.endpoint(), Session(client_id="operator"))
        visor_bus = BusClient(broker.endpoint(), Session(client_id="tv.counter"))
        silo = Silo(BusClient(broker.endpoint(), Session(client_id="silo.home")))
        runtime = Runtime(Counter, TV, visor_bus)
        async with task(runtime.run()), operator, silo.bus, task(silo.tick()):
            await say(operator, 1)
            for kill in range(kills):
                await silo.reach((kill + 1) * 150)
                broker.kill()
                await asyncio.sleep(0.2)
                broker.start()
                if not kill:  # c_in was lost with the broker; the ThingVisor goes on with what it knows
                    await silo.reach(silo.numbers[-1] + 10)
            await silo.reach(silo.numbers[-1] + 200)
        assert (tmp_path / "mosquitto.db").exists() == bool(memory)
        assert silo.sequencer.lost == 0
        assert silo.numbers == list(range(silo.numbers[0], silo.numbers[0] + len(silo.numbers)))
        assert silo.numbers[0] < 100


async def test_an_outage_longer_than_the_rings_memory_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker is killed with messages that it had acknowledged and a silo had not got yet."""
    memory = 2.0
    monkeypatch.setattr(outbound, "Ring", partial(Ring, max_age=memory))
    with Mosquitto(tmp_path) as broker:
        operator = BusClient(broker.endpoint(), Session(client_id="operator"))
        silo = Silo(BusClient(broker.endpoint(), Session(client_id="silo.home")))
        runtime = Runtime(Counter, TV, BusClient(broker.endpoint(), Session(client_id="tv.counter")))
        async with task(runtime.run()), operator, task(silo.tick()):
            async with silo.bus:
                await say(operator, 1)
                await silo.reach(50)
            async with asyncio.timeout(20):
                while runtime.stats.published_total < silo.numbers[-1] + 50:
                    await asyncio.sleep(0.01)
            broker.kill()
            await asyncio.sleep(1.5 * memory)
            broker.start()
            silo.bus = BusClient(
                broker.endpoint(), Session(client_id="silo.home"), on_connect=silo.greet, on_message=silo.receive
            )
            async with silo.bus:
                await silo.reach(silo.numbers[-1] + 100)
        assert silo.sequencer.lost == 0
        assert silo.numbers == list(range(silo.numbers[0], silo.numbers[0] + len(silo.numbers)))


async def report_when(reports: "asyncio.Queue[ThingVisorReport]", holds: Callable[[ThingVisorReport], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds(await reports.get()):
            pass


async def test_on_a_guarded_bus_with_files_probes_and_term(tmp_path: Path) -> None:
    """The whole process: credentials directory, TLS, role, report, metrics, and a clean end on TERM."""
    with Mosquitto(tmp_path, dynsec=True, tls=True) as broker:
        await broker.deny_by_default()
        await broker.add_client("operator", "o", operator_role())
        await broker.add_client(f"silo.{SILO}", "s", silo_role(SILO, [AttachedThing(id="x", tv=TV, thing="n")]))
        directory, port = tmp_path / "bus", free_port()
        directory.mkdir()
        files = {"url": broker.url, "username": f"tv.{TV}", "password": "t", "ca.crt": broker.ca_file.read_text()}
        for name, text in files.items():
            (directory / name).write_text(text)
        reports: asyncio.Queue[ThingVisorReport] = asyncio.Queue()

        async def greet(_session_present: bool) -> None:
            await operator.subscribe(topics.TV_OUT_FILTER)

        operator = BusClient(
            broker.endpoint("operator", "o"),
            on_connect=greet,
            on_message=lambda delivery: reports.put_nowait(ThingVisorReport.decode(delivery.payload)),
        )
        process = await start_helloworld(directory, port)
        try:
            async with operator, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
                await say(operator, 7, period=1)
                await broker.add_client(f"tv.{TV}", "t", thing_visor_role(TV))  # after the pod: it has to wait for it
                await report_when(reports, lambda report: report.observed_generation == 7)
                assert [thing.thing for thing in (await last(operator, reports)).v_things] == ["hello"]
                assert (await http.get("/readyz")).status == (await http.get("/livez")).status == 200
                assert "tephra_thingvisor_things 1.0" in await (await http.get("/metrics")).text()
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 10) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def last(operator: BusClient, reports: "asyncio.Queue[ThingVisorReport]") -> ThingVisorReport:
    """The retained report, asked for again."""
    await operator.unsubscribe(topics.TV_OUT_FILTER)
    while not reports.empty():
        reports.get_nowait()
    await operator.subscribe(topics.TV_OUT_FILTER)
    return await asyncio.wait_for(reports.get(), 5)


async def start_helloworld(bus_dir: Path, port: int) -> asyncio.subprocess.Process:
    folder = Path(__file__).parents[2] / "thingvisors/helloworld"
    environment = {
        "PATH": "/usr/bin",
        "PYTHONPATH": str(folder),
        "TEPHRA_IDENTITY": TV,
        "TEPHRA_BUS_DIR": str(bus_dir),
        "TEPHRA_HEALTH_PORT": str(port),
    }
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "helloworld", env=environment)
