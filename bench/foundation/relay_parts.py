"""The processes of row 4: a ThingVisor on our SDK, and the peer: a publisher and a relay on bare paho-mqtt.

Both publishers make the same 466-byte entities, as told line by line on stdin: ``<count> <per second, 0: at once>``.
Neighbour: :mod:`.relay` starts and measures them. The generator is frozen: change it and no figure compares with an
earlier one.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tephra.things import ThingVisor, run

SIZE = 466
ENTITIES = 100
_PADDING = "x" * 277
THING = "probe"
BARE, OUT = "bare", "tenant-a/bare"
"""Topics of the peer: in front of and behind its relay."""


def entity(number: int) -> dict[str, Any]:
    """Message ``number`` (from 0) as an NGSI-LD entity of exactly :data:`SIZE` bytes, stamped with the time (ns)."""
    return {
        "id": f"urn:ngsi-ld:Probe:{number % ENTITIES:03}",
        "type": "Probe",
        "number": {"type": "Property", "value": number + 10**9},
        "sent": {"type": "Property", "value": time.monotonic_ns() + 10**18},
        "padding": {"type": "Property", "value": _PADDING},
    }


def read(payload: bytes) -> tuple[int, int]:
    """Number and time (ns) of a message."""
    made = orjson.loads(payload)
    return made["number"]["value"] - 10**9, made["sent"]["value"] - 10**18


class Probe(ThingVisor):
    """Publishes what stdin asks for."""

    async def start(self, params: Any) -> None:
        await self.announce(THING)
        number = 0
        async for count, rate in _orders():
            began = time.monotonic()
            for index in range(count):
                if rate and (wait := began + index / rate - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                await self.publish(THING, [entity(number)])
                number += 1


async def _orders() -> AsyncIterator[tuple[int, float]]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        count, rate = line.split()
        yield int(count), float(rate)


def _client(url: str, name: str) -> mqtt.Client:
    """As it comes: paho's default of 20 in flight; 100, 1,000 and no limit cost it as much CPU or more."""
    host, _, port = url.removeprefix("mqtt://").partition(":")
    client = mqtt.Client(CallbackAPIVersion.VERSION2, name, protocol=mqtt.MQTTv5)
    client.connect(host, int(port))
    return client


def publish_bare(core: str) -> None:
    """The peer's publisher: paho with its own thread, no numbering, no memory, no health."""
    client = _client(core, "bare-publisher")
    client.loop_start()
    number = 0
    for line in _lines():
        count, rate = line.split()
        began = time.monotonic()
        for index in range(int(count)):
            if float(rate) and (wait := began + index / float(rate) - time.monotonic()) > 0:
                time.sleep(wait)
            made = entity(number)
            client.publish(f"{BARE}/{made['id']}", orjson.dumps(made), qos=1, retain=True)
            number += 1


def _lines() -> Iterator[str]:
    while line := sys.stdin.readline():
        yield line


def relay_bare(core: str, tenant: str) -> None:
    """The peer's relay: every message of the one broker is published at the other, nothing else."""
    out = _client(tenant, "bare-relay")

    def forward(_client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        out.publish("tenant-a/" + message.topic, message.payload, qos=1, retain=True)

    into = _client(core, "bare-relay")
    into.on_message = forward
    into.subscribe(f"{BARE}/+", qos=1)
    out.loop_start()
    into.loop_forever()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["thingvisor"]:
            run(Probe, [])
        case ["publisher", core]:
            publish_bare(core)
        case ["relay", core, tenant]:
            relay_bare(core, tenant)
