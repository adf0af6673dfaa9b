"""``/livez``, ``/readyz`` and ``/metrics`` on a bare asyncio server.

An HTTP framework would cost a fifth of a second of start-up and 13 MiB for three GETs; :mod:`prometheus_client` is
imported at the first scrape for the same reason. A program counts in a plain dataclass: every field is a metric, a
counter or, ending in ``_now``, a gauge; its help text is the field's ``metadata["help"]`` (:func:`counted`).
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from prometheus_client.core import Metric

_REQUEST_LIMIT = 5.0
"""Seconds a client may take to send its request."""


def counted(text: str) -> Any:
    """A field that starts at 0, with its help text."""
    return field(default=0, metadata={"help": text})


class _Collector:
    """Makes metric families of the counters when they are asked for."""

    def __init__(self, prefix: str, stats: "DataclassInstance") -> None:
        self._prefix, self._stats = prefix, stats

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for each in fields(self._stats):
            family = GaugeMetricFamily if each.name.endswith("_now") else CounterMetricFamily
            name = f"{self._prefix}_{each.name.removesuffix('_now').removesuffix('_total')}"
            yield family(name, each.metadata["help"], value=getattr(self._stats, each.name))


def metrics(prefix: str, stats: "DataclassInstance") -> bytes:
    """The counters in Prometheus' text format, with those of the process."""
    from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(prefix, stats))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


async def serve(port: int, read_metrics: Callable[[], bytes], not_ready: Callable[[], str]) -> asyncio.Server:
    """Listen on ``port``; ``not_ready`` gives the reason, or nothing when ready."""

    def respond(path: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, "text/plain; version=0.0.4; charset=utf-8", read_metrics()
        reason = {"/livez": "", "/readyz": not_ready()}.get(path)
        if reason is None:
            return 404, "text/plain", b"there are /livez, /readyz and /metrics\n"
        return (503, "text/plain", reason.encode() + b"\n") if reason else (200, "text/plain", b"ok\n")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_LIMIT):
                head = await reader.readuntil(b"\r\n\r\n")
            status, kind, body = respond(head.split(b" ", 2)[1].decode().partition("?")[0])
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
