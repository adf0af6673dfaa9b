"""Row 3: a vThing added to a running silo → its first data at the tenant's client.

From the API server's answer to the edit of `spec.vThings` to the arrival at an MQTT client outside the cluster. Beside
it, in the same run: one write to the API server and its watch event, the least that anything driven by the API costs.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from bench.foundation import bed
from bench.report import at_most, emit, noise, percentile, progress
from tephra.kube.client import Client, Selection
from tephra.kube.config import load
from tests.support.system import hello, silo
from tests.support.tenant import Tenant

P50_MS, P99_MS = 100, 500


def run(quick: bool) -> None:
    """At least 200 edits (30 when quick), none discarded."""
    system, count = bed.system(), 30 if quick else 200
    with system.namespace("attach") as namespace:
        things = [f"thing-{number}" for number in range(count)]
        system.apply(hello(namespace, period=3600, things=things))
        system.apply(silo(namespace, "home"))
        system.wait("thingvisor", "hello", namespace)
        system.wait("vsilo", "home", namespace)
        system.wait("vthing", f"hello.{things[-1]}", namespace)
        with system.at_silo("home", namespace) as tenant:
            tenant.subscribe("#")
            attach, echo = asyncio.run(_measure(system.kubeconfig, namespace, things, tenant))
    _print(attach, echo)


def _print(attach: list[float], echo: list[float]) -> None:
    share = {"runs": len(attach), "noise": noise(attach), "peer": "API write and its watch event"}
    for percent, bar in ((50, P50_MS), (99, P99_MS)):
        value, peer = percentile(attach, percent), percentile(echo, percent)
        more: dict[str, Any] = share | {"peer_value": peer, "ratio": value / peer} | at_most(value, bar, "ms")
        emit("foundation", 3, f"vThing added → first data, p{percent}", value, "ms", **more)


async def _measure(
    kubeconfig: str, namespace: str, things: list[str], tenant: Tenant
) -> tuple[list[float], list[float]]:
    attach, echo = [], []
    async with Client(load(kubeconfig), field_manager="bench") as kube:
        events = kube.watch("ConfigMap", Selection(namespace, fields="metadata.name=echo"))
        await _echo(kube, namespace, events, 0)
        for number, thing in enumerate(things, start=1):
            refs = [f"{namespace}/hello/{name}" for name in things[max(0, number - 2) : number]]
            await kube.apply(silo(namespace, "home", *refs))
            answered = time.monotonic()
            arrived = await asyncio.to_thread(tenant.until, lambda m, name=thing: f"/{name}/" in m.topic)
            attach.append((arrived.at - answered) * 1000)
            echo.append(await _echo(kube, namespace, events, number))
            if number % 50 == 0:
                progress(f"{number} of {len(things)}")
    return attach, echo


async def _echo(kube: Client, namespace: str, events: AsyncIterator[Any], number: int) -> float:
    """Milliseconds from the start of a write to its watch event."""
    metadata = {"name": "echo", "namespace": namespace}
    started = time.monotonic()
    await kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"n": str(number)}})
    async for event in events:
        if event.object.get("data", {}).get("n") == str(number):
            return (time.monotonic() - started) * 1000
    raise AssertionError(f"the watch ended before write {number} was seen")
