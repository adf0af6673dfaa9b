"""``/livez``, ``/readyz`` and ``/metrics`` of the controller, on a bare asyncio server.

An HTTP framework would cost a fifth of a second of start-up and 13 MiB for three GETs; :mod:`prometheus_client` is
imported at the first scrape for the same reason. Neighbour: :mod:`.runtime` counts, and says when it is ready.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_REQUEST_LIMIT = 5.0
"""Seconds a client may take to send its request."""


@dataclass(slots=True)
class Stats:
    """What is counted; every field is the metric ``tephra_silo_<field>``, a counter or, ending in ``_now``, a gauge."""

    delivered_total: int = 0
    duplicates_total: int = 0
    lost_total: int = 0
    refused_total: int = 0
    repairs_total: int = 0
    commands_total: int = 0
    commands_refused_total: int = 0
    answers_total: int = 0
    attached_now: int = 0
    unacknowledged_now: int = 0
    bus_connected_now: int = 0
    broker_connected_now: int = 0


HELP = {
    "delivered_total": "Entities that the tenant's broker acknowledged.",
    "duplicates_total": "Messages that came again and were dropped.",
    "lost_total": "Messages given up: neither the bus nor the ThingVisor had them any more.",
    "refused_total": "Entities that the tenant's broker refused.",
    "repairs_total": "Repair requests sent to ThingVisors.",
    "commands_total": "Commands taken from the tenant and put on the bus.",
    "commands_refused_total": "Commands that could not be understood or were not allowed.",
    "answers_total": "Statuses and results of commands handed to the tenant.",
    "attached_now": "vThings served now.",
    "unacknowledged_now": "Messages of the bus that the tenant's broker has not acknowledged yet.",
    "bus_connected_now": "1 while connected to the core bus.",
    "broker_connected_now": "1 while connected to the tenant's broker.",
}


class _Collector:
    """Makes metric families of the counters when they are asked for."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for field in fields(Stats):
            family = GaugeMetricFamily if field.name.endswith("_now") else CounterMetricFamily
            name = "tephra_silo_" + field.name.removesuffix("_now").removesuffix("_total")
            yield family(name, HELP[field.name], value=getattr(self._stats, field.name))


def metrics(stats: Stats) -> bytes:
    """The counters in Prometheus' text format, with those of the process."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(stats))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


async def serve(port: int, stats: Callable[[], Stats], not_ready: Callable[[], str]) -> asyncio.Server:
    """Listen on ``port``; ``not_ready`` gives the reason, or nothing when ready."""

    def respond(path: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", metrics(stats())
        reason = {"/livez": "", "/readyz": not_ready()}.get(path)
        if reason is None:
            return 404, "text/plain", b"there are /livez, /readyz and /metrics\n"
        return (503, "text/plain", reason.encode() + b"\n") if reason else (200, "text/plain", b"ok\n")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_LIMIT):
                head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode().partition("?")[0]
            status, kind, body = respond(path)
            writer.write(
                f"HTTP/1.1 {status} -\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, IndexError):
            pass  # a client that speaks no HTTP, or left: nobody to answer
        finally:
            writer.close()

    return await asyncio.start_server(handle, port=port)
