"""Row 4: what a message costs on its way ThingVisor → core broker → silo controller → tenant's broker.

Ours: a ThingVisor on the SDK, and ``python3 -m tephra.silos``, each its own process, between two Mosquittos on
loopback; QoS 1 all the way, 466-byte entities. The peer: a publisher and a relay on bare paho-mqtt between the same
brokers. Both lines stand ready all the time and carry messages in turn, block by block; CPU is the processes' own, from
/proc. The latency is measured apart, at a paced rate.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.foundation import relay_parts as parts
from bench.report import at_most, emit, noise, percentile, progress
from tephra.bus import topics
from tephra.bus.client import BusClient, Endpoint
from tephra.bus.messages import ThingVisorDesired
from tests.support.mosquitto import Mosquitto
from tests.support.silo import TV, Controller, Operator, attached

FACTOR, EXTRA_US = 1.15, 10.0
MESSAGES, BLOCKS = 1_000_000, 10
QUICK_MESSAGES, QUICK_BLOCKS = 20_000, 2
PACED, RATE = 2000, 1000.0
CHUNK, OUTSTANDING = 500, 5000
"""Orders to a publisher, and how many messages may be between it and the tenant: at once, but never beyond a queue."""
STALLED_S = 30.0


class Line(NamedTuple):
    """One way from a publisher to the tenant."""

    publisher: subprocess.Popen[bytes]
    relay_pid: int
    arrivals: "Arrivals"

    def cpu(self) -> tuple[float, float]:
        """Seconds of CPU of publisher and relay so far."""
        return _cpu(self.publisher.pid), _cpu(self.relay_pid)


class Arrivals:
    """What the tenant has seen of one line."""

    def __init__(self) -> None:
        self.count = self.duplicates = self.disordered = 0
        self.latencies: list[float] = []
        self._next = [0] * parts.ENTITIES
        """Per entity, how often it should have come."""
        self._changed = threading.Condition()

    def take(self, payload: bytes) -> None:
        """One message at the tenant."""
        number, sent = parts.read(payload)
        turn, entity = divmod(number, parts.ENTITIES)
        with self._changed:
            self.latencies.append((time.monotonic_ns() - sent) / 1e6)
            if turn == self._next[entity]:
                self._next[entity] += 1
                self.count += 1
            elif turn < self._next[entity]:
                self.duplicates += 1
            else:
                self.disordered += 1
            if self.count % 100 == 0:
                self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Until so many have come; raises TimeoutError when none comes for a while."""
        with self._changed:
            while self.count < count:
                before = self.count
                if not self._changed.wait(STALLED_S) and self.count == before:
                    raise TimeoutError(f"{self.count} of {count} messages arrived, then none for {STALLED_S:.0f} s")


class Block(NamedTuple):
    """One measurement: microseconds of CPU per message, messages per second."""

    publisher: float
    relay: float
    rate: float

    @property
    def cpu(self) -> float:
        return self.publisher + self.relay


def run(quick: bool) -> None:
    """A million messages of ours, a fifth of that of the peer's, in alternating blocks."""
    messages, blocks = (QUICK_MESSAGES, QUICK_BLOCKS) if quick else (MESSAGES, BLOCKS)
    with tempfile.TemporaryDirectory(prefix="tephra-bench-") as directory:
        asyncio.run(_run(Path(directory), messages // blocks, blocks))


async def _run(directory: Path, size: int, blocks: int) -> None:
    with ExitStack() as stack:
        core = stack.enter_context(Mosquitto(directory / "core"))
        tenant = stack.enter_context(Mosquitto(directory / "tenant"))
        lines = stack.enter_context(_lines(directory, core, tenant))
        async with Operator(core.endpoint()) as operator, BusClient(Endpoint(core.url, "desire")) as bus:
            await bus.publish(topics.tv_in(TV), ThingVisorDesired(generation=1).encode(), retain=True)
            await operator.desire(attached(parts.THING))
            await asyncio.to_thread(_measure, lines[0], lines[1], size, blocks)


def _measure(ours: Line, peer: Line, size: int, blocks: int) -> None:
    for line in (ours, peer):
        _send(line, 2 * OUTSTANDING)
    measured: list[Block] = []
    reference: list[Block] = []
    for number in range(blocks):
        reference.append(_block(peer, max(size // 5, OUTSTANDING)))
        measured.append(_block(ours, size))
        progress(f"block {number + 1} of {blocks}: {measured[-1].cpu:.1f} us, peer {reference[-1].cpu:.1f} us")
    _print_cpu(measured, reference, ours.arrivals)
    late: tuple[list[float], list[float]] = [], []
    for _ in range(blocks):
        for latencies, line in zip(late, (ours, peer), strict=True):
            latencies.extend(_paced(line))
    _print_latency(*late)


def _block(line: Line, size: int) -> Block:
    before, began = line.cpu(), time.monotonic()
    _send(line, size)
    seconds, after = time.monotonic() - began, line.cpu()
    publisher, relay = ((now - then) / size * 1e6 for now, then in zip(after, before, strict=True))
    return Block(publisher, relay, size / seconds)


def _send(line: Line, count: int) -> None:
    """Send so many as fast as they go, and wait until all have arrived."""
    base = line.arrivals.count
    for sent in range(0, count, CHUNK):
        line.arrivals.wait(base + sent - OUTSTANDING)
        _order(line, CHUNK, 0)
    line.arrivals.wait(base + count)


def _paced(line: Line) -> list[float]:
    """Latencies (ms) of one paced block."""
    base = line.arrivals.count
    line.arrivals.latencies.clear()
    _order(line, PACED, RATE)
    line.arrivals.wait(base + PACED)
    return list(line.arrivals.latencies)


def _order(line: Line, count: int, rate: float) -> None:
    assert line.publisher.stdin
    line.publisher.stdin.write(f"{count} {rate}\n".encode())
    line.publisher.stdin.flush()


def _print_cpu(ours: list[Block], peer: list[Block], arrivals: Arrivals) -> None:
    for what, index in (("ThingVisor and controller", None), ("ThingVisor", 0), ("controller", 1)):
        values, others = ([b.cpu if index is None else b[index] for b in blocks] for blocks in (ours, peer))
        value, other = percentile(values, 50), percentile(others, 50)
        bar = at_most(value, FACTOR * other + EXTRA_US, "us (1.15x + 10)") if index != 0 else {}
        noises = {"noise": noise(values), "peer_noise": noise(others)}
        more = {"peer": "bare paho-mqtt", "peer_value": other, "ratio": value / other, **noises, **bar}
        emit("foundation", 4, f"CPU per message, {what}", value, "us", **more)
    rate, other = percentile([b.rate for b in ours], 50), percentile([b.rate for b in peer], 50)
    emit("foundation", 4, "rate", rate, "1/s", peer="bare paho-mqtt", peer_value=other, ratio=rate / other)
    emit("foundation", 4, "messages carried", arrivals.count, "")
    emit("foundation", 4, "lost or out of order per entity", arrivals.disordered, "", **at_most(arrivals.disordered, 0))
    emit("foundation", 4, "duplicates", arrivals.duplicates, "")


def _print_latency(ours: list[float], peer: list[float]) -> None:
    for percent in (50, 99):
        value, other = percentile(ours, percent), percentile(peer, percent)
        what = f"latency at {RATE:.0f}/s, p{percent}"
        emit("foundation", 4, what, value, "ms", peer="bare paho-mqtt", peer_value=other, ratio=value / other)


@contextmanager
def _lines(directory: Path, core: Mosquitto, tenant: Mosquitto) -> Iterator[tuple[Line, Line]]:
    """Our line and the peer's, ready to carry; ended afterwards."""
    ours, peer = Arrivals(), Arrivals()
    consumer = _consume(tenant, ours, peer)
    controller = Controller(directory, core.endpoint(), tenant.endpoint())
    controller.write("tv", url=core.url, username=f"tv.{TV}", password="x")
    environment = {"TEPHRA_IDENTITY": TV, "TEPHRA_BUS_DIR": str(controller.directory / "tv"), "TEPHRA_HEALTH_PORT": "0"}
    relay = _start("relay", core.url, tenant.url)
    publishers = [_start("thingvisor", **environment), _start("publisher", core.url)]
    controller.start()
    try:
        yield Line(publishers[0], controller.pid, ours), Line(publishers[1], relay.pid, peer)
    finally:
        for process in (*publishers, relay):
            process.kill()
            process.wait()
        controller.end()
        consumer.disconnect()
        consumer.loop_stop()


def _start(part: str, *urls: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bench.foundation.relay_parts", part, *urls]
    return subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, **environment})


def _consume(tenant: Mosquitto, ours: Arrivals, peer: Arrivals) -> mqtt.Client:
    """The tenant: told apart by topic, so that both lines have the same consumer."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "tenant", protocol=mqtt.MQTTv5)
    own = f"{parts.OUT}/"

    def take(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        (peer if message.topic.startswith(own) else ours).take(bytes(message.payload))

    client.on_message = take
    client.connect("localhost", tenant.port)
    client.subscribe("#", qos=1)
    client.loop_start()
    return client


def _cpu(pid: int) -> float:
    """Seconds of CPU, user and system, of a process with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
