"""The vSilo controller as a process between two real Mosquittos: what its tenant sees, whatever is killed."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tephra.bus.messages import COMMAND, ENTITY, NAME, Unicast
from tests.support.silo import Bench, Source, attached, silo_bench
from tests.support.tenant import Message, Tenant

ROOM = "urn:ngsi-ld:Room:1"
TOPIC = "tenant-a/things/counter/room/Room:1"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with silo_bench(tmp_path) as bench:
        yield bench


def value(message: Message) -> int:
    number: int = json.loads(message.payload)["count"]["value"]
    return number


async def values(tenant: Tenant, last: int, timeout: float = 20) -> list[int]:
    """Every value that arrives, up to and with ``last``."""
    await asyncio.to_thread(tenant.until, lambda m: value(m) == last, timeout)
    return [value(message) for message in tenant.messages]


async def test_a_late_silo_and_a_late_tenant_have_the_last_value_at_once(bench: Bench) -> None:
    await bench.source.publish("room", ROOM, 1)
    await bench.source.publish("room", ROOM, 2)
    tenant = bench.tenant()
    await bench.operator.desire(attached("room"))
    assert await values(tenant, 2) == [2]
    late = bench.tenant()
    message = await asyncio.to_thread(late.next)
    assert (message.topic, message.retain, value(message)) == (TOPIC, True, 2)


async def test_things_come_and_go_without_a_restart(bench: Bench) -> None:
    pid = bench.controller.pid
    await bench.source.publish("room", ROOM, 1)
    await bench.source.publish("hall", "urn:ngsi-ld:Hall:1", 2)
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()
    await asyncio.to_thread(tenant.until, lambda m: m.topic == TOPIC)
    await bench.operator.desire(attached("hall"))
    gone = await asyncio.to_thread(tenant.until, lambda m: m.topic == TOPIC)
    assert gone.payload == b"", "a value of a detached thing stayed at the broker"
    late = bench.tenant()
    assert (await asyncio.to_thread(late.next)).topic == "tenant-a/things/counter/hall/Hall:1"
    await bench.source.publish("room", ROOM, 3)
    await bench.operator.desire(attached("hall"), attached("room"))
    assert value(await asyncio.to_thread(late.until, lambda m: m.topic == TOPIC and m.payload)) == 3
    assert bench.controller.pid == pid


async def test_an_entity_that_is_gone_leaves_the_broker(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()
    await bench.source.publish("room", ROOM, 1)
    await values(tenant, 1)
    seq, _ = bench.source.number("room", ROOM, None)
    await bench.source._send("room", ROOM, seq, b"")
    await asyncio.to_thread(tenant.until, lambda m: not m.payload)
    await bench.source.publish("room", "urn:ngsi-ld:Room:2", 3)
    await asyncio.to_thread(tenant.until, lambda m: m.topic.endswith("Room:2"))
    late = bench.tenant()
    assert (await asyncio.to_thread(late.next)).topic.endswith("Room:2")


async def test_commands_reach_the_thing_and_answers_the_tenant(bench: Bench) -> None:
    await bench.source.publish("room", ROOM, 1)
    await bench.operator.desire(attached("room", commands=True))
    tenant = bench.tenant()
    await values(tenant, 1)
    tenant.publish(f"{TOPIC}/set-count", "41")
    thing, command = await asyncio.wait_for(bench.source.commands.get(), 5)
    assert (thing, command["entity"], command["name"], command["value"]) == ("room", ROOM, "set-count", 41)
    user = {ENTITY: ROOM, COMMAND: command["id"], NAME: "set-count"}
    bench.source.answer("room", Unicast.STATUS, b'"half way"', **user)
    bench.source.answer("room", Unicast.RESULT, b'{"count":41}', **user)
    status = await asyncio.to_thread(tenant.until, lambda m: m.topic.endswith("/status"))
    result = await asyncio.to_thread(tenant.until, lambda m: m.topic.endswith("/result"))
    assert status.topic == f"{TOPIC}/set-count/status"
    assert json.loads(status.payload) == {"cmd-id": command["id"], "cmd-status": "half way"}
    assert json.loads(result.payload) == {"cmd-id": command["id"], "cmd-result": {"count": 41}}


async def test_commands_that_are_not_granted_go_nowhere(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()
    tenant.publish(f"{TOPIC}/set-count", "41")
    await bench.operator.desire(attached("room", commands=True))
    tenant.publish(f"{TOPIC}/set-count", "42")
    _, command = await asyncio.wait_for(bench.source.commands.get(), 5)
    assert command["value"] == 42


async def test_layout_seed_and_the_change_to_it(bench: Bench) -> None:
    await bench.source.publish("room", ROOM, 1)
    await bench.operator.desire(attached("room", commands=True))
    tenant = bench.tenant()
    await values(tenant, 1)
    await bench.operator.desire(attached("room", commands=True), topicLayout="seed")
    seed = await asyncio.to_thread(tenant.until, lambda m: m.topic == "tenant-a/things/counter/room")
    neutral = json.loads(seed.payload)
    assert neutral["meta"] == {"vThingID": "things/counter/room"}
    assert neutral["data"][0]["count"]["value"] == 1
    assert [m.payload for m in tenant.messages if m.topic == TOPIC][-1] == b""
    value = {"cmd-value": 7, "cmd-qos": 1, "cmd-id": "a"}
    order = {"data": [{"id": ROOM, "type": "Counter", "set-count": {"type": "Property", "value": value}}]}
    tenant.publish("tenant-a/things/counter/room/in", json.dumps(order))
    _, command = await asyncio.wait_for(bench.source.commands.get(), 5)
    assert command == {"entity": ROOM, "name": "set-count", "id": "a", "value": 7, "qos": 1}
    tenant.publish("tenant-a/things/counter/room/in", "{'data': []}")
    tenant.publish("tenant-a/things/counter/room/in", json.dumps(order))
    await asyncio.wait_for(bench.source.commands.get(), 5)
    assert "tephra_silo_commands_refused_total 1.0" in (await bench.controller.get("/metrics"))[1]
    assert "neutral format" in bench.controller.log


async def test_params_that_the_flavour_should_have_refused_change_nothing(bench: Bench) -> None:
    await bench.source.publish("room", ROOM, 1)
    await bench.operator.desire(attached("room"), topicLayout="sideways")
    assert (await asyncio.to_thread(bench.tenant().next)).topic == TOPIC
    assert "'sideways' is not one of perEntity, seed" in bench.controller.log


async def test_what_the_bus_lost_is_repaired_in_order(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()
    for count in range(1, 4):
        await bench.source.publish("room", ROOM, count)
    bench.source.number("room", ROOM, 4)
    bench.source.number("room", ROOM, 5)
    await bench.source.publish("room", ROOM, 6)
    assert await values(tenant, 6) == [1, 2, 3, 4, 5, 6]


async def stream(bench: Bench, count: int, harm: dict[int, object]) -> None:
    """Publish 1..count at 500/s, doing harm at some numbers."""
    for number in range(1, count + 1):
        bench.source.publish("room", f"{ROOM}{number % 3}", number)
        await asyncio.sleep(0.002)
        if action := harm.get(number):
            await asyncio.to_thread(action)  # type: ignore[arg-type]


def per_entity_in_order(numbers: list[int]) -> bool:
    return all(sub == sorted(sub) for r in range(3) if (sub := [n for n in numbers if n % 3 == r]) is not None)


async def test_a_restarted_thingvisor_begins_again(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()
    for number in (1, 2, 3):
        await bench.source.publish("room", ROOM, number)
    await values(tenant, 3)
    await bench.source.bus.stop()
    async with Source(bench.core.endpoint()) as successor:
        for number in (4, 5):
            await successor.publish("room", ROOM, number)
        assert await values(tenant, 5) == [1, 2, 3, 4, 5]


async def test_killing_the_core_broker_loses_nothing(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()
    await stream(bench, 600, {200: bench.core.kill, 300: bench.core.start, 400: bench.core.kill, 410: bench.core.start})
    got = await values(tenant, 600, 30)
    assert sorted(set(got)) == list(range(1, 601))
    assert per_entity_in_order(got)


async def test_killing_the_controller_loses_nothing(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()

    def kill() -> None:
        bench.controller.end(signal.SIGKILL)

    await stream(bench, 600, {200: kill, 300: bench.controller.start, 450: kill, 451: bench.controller.start})
    got = await values(tenant, 600, 30)
    assert sorted(set(got)) == list(range(1, 601))
    assert len(got) < 600 + 100, "more came again than what was under way and the last values"


async def test_a_thing_of_an_earlier_life_has_its_last_value_at_once(bench: Bench) -> None:
    """The session still holds the subscription of a thing that was withdrawn while no controller ran."""
    await bench.source.publish("hall", "urn:ngsi-ld:Hall:1", 7)
    await bench.operator.desire(attached("room"), attached("hall"))
    bench.controller.end(signal.SIGKILL)
    withdrawn = asyncio.create_task(bench.operator.desire(attached("room")))
    bench.controller.start()
    await withdrawn
    tenant = bench.tenant()
    await bench.operator.desire(attached("room"), attached("hall"))
    assert await values(tenant, 7, 5)


async def test_stopping_the_controller_neither_loses_nor_repeats(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()
    codes: list[int] = []
    await stream(bench, 600, {200: lambda: codes.append(bench.controller.end()), 300: bench.controller.start})
    got = await values(tenant, 600, 30)
    assert codes == [0]
    assert sorted(set(got)) == list(range(1, 601))
    assert len(got) <= 600 + 3, "more than the last value of each entity came again"


async def test_a_killed_tenant_broker_has_the_last_values_again(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    tenant = bench.tenant()
    await bench.source.publish("room", ROOM, 1)
    await bench.source.publish("room", "urn:ngsi-ld:Room:2", 2)
    await values(tenant, 2)
    await asyncio.to_thread(bench.broker.kill)
    await bench.operator.until(lambda report: not report.broker_ready)
    await asyncio.to_thread(bench.broker.start)
    await bench.operator.until(lambda report: report.broker_ready)
    late = bench.tenant()
    assert sorted([value(await asyncio.to_thread(late.next)) for _ in range(2)]) == [1, 2]
    await bench.source.publish("room", ROOM, 3)
    assert (await values(late, 3))[-1] == 3


async def test_health_and_metrics(bench: Bench) -> None:
    await bench.operator.desire(attached("room"))
    assert await bench.controller.get("/livez") == (200, "ok\n")
    assert await bench.controller.get("/readyz") == (200, "ok\n")
    status, body = await bench.controller.get("/metrics")
    assert status == 200
    assert "tephra_silo_attached 1.0" in body
    assert (await bench.controller.get("/"))[0] == 404
    await asyncio.to_thread(bench.broker.kill)
    await bench.operator.until(lambda report: not report.broker_ready)
    assert (await bench.controller.get("/readyz"))[0] == 503
    assert (await bench.controller.get("/livez"))[0] == 200


async def test_wrong_start_says_what_is_wrong(bench: Bench) -> None:
    bench.controller.end()
    bench.controller.start(TEPHRA_PROTOCOL="coap")
    assert bench.controller.end(signal.SIGCONT) == 2
    assert "TEPHRA_PROTOCOL='coap'" in bench.controller.log
