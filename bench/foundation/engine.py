"""Row 6: what the engine costs, beside stock kopf handlers with the same plan, on a real API server in one run.

A fresh etcd and kube-apiserver on loopback, VThings (no children), each operator in a process of its own, one after
the other and alternating. CPU is user + system time of that process; writes are counted from the API server's audit
log. Also: silence while nothing changes, and the memory that 10,000 objects take.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import at_most, emit, noise, percentile, progress
from tephra.kube.client import Client, Selection
from tephra.kube.config import load
from tests.support import apiserver

BENCH, ROW = "foundation", 6
NAMESPACE = "bench"
PARALLEL = 16
PHASES = ("create", "update", "delete")
TICK = os.sysconf("SC_CLK_TCK")
DRIVER = "bench-driver"
PEER, FACTOR = "stock kopf handlers", 2.5


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    objects: int
    rounds: int
    singles: int
    idle_s: float
    many: int


def run(quick: bool) -> None:
    asyncio.run(_run(Size(200, 1, 30, 10, 1_000) if quick else Size(1_000, 3, 200, 300, 10_000)))


async def _run(size: Size) -> None:
    with apiserver.running() as server:
        async with Client(load(str(server.kubeconfig)), field_manager=DRIVER) as client:
            await apiserver.install_crds(client)
            await client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            bench = Bench(server, client)
            await bench.compare(size)
            await bench.latency(size)
            await bench.silence(size)
            await bench.memory(size)


def _beside(value: float, other: float) -> dict[str, Any]:
    """The peer's figure and ours as a share of it."""
    return {"peer": PEER, "peer_value": other, "ratio": value / other}


class Bench:
    """The measurements, on one API server."""

    def __init__(self, server: apiserver.ApiServer, client: Client) -> None:
        self._server, self._client = server, client

    async def compare(self, size: Size) -> None:
        """CPU and writes per object and phase, ours and stock kopf, alternating."""
        cpu: dict[str, dict[str, list[float]]] = {name: {phase: [] for phase in PHASES} for name in ("ours", "kopf")}
        writes: dict[str, dict[str, float]] = {"ours": {}, "kopf": {}}
        for number in range(size.rounds):
            for name in cpu:
                progress(f"round {number + 1} of {size.rounds}: {name}, {size.objects} VThings")
                async with self.operator(name) as pid:
                    for phase, work in self._phases(size.objects).items():
                        spent, made = await self._measure(pid, work)
                        cpu[name][phase].append(1e3 * spent / size.objects)
                        writes[name][phase] = sum(made.values()) / size.objects
        self._report(cpu, writes)

    def _phases(self, objects: int) -> dict[str, Callable[[], Any]]:
        return {
            "create": lambda: self.everything(objects, lambda n: self._client.create(vthing(n))),
            "update": lambda: self.everything(
                objects, lambda n: self._client.apply(vthing(n, label="edited"), manager=DRIVER)
            ),
            "delete": lambda: self.everything(
                objects, lambda n: self._client.delete("VThing", name_of(n), NAMESPACE), gone=True
            ),
        }

    def _report(self, cpu: dict[str, dict[str, list[float]]], writes: dict[str, dict[str, float]]) -> None:
        for phase in PHASES:
            mine, peer = cpu["ours"][phase], cpu["kopf"][phase]
            value, other = statistics.median(mine), statistics.median(peer)
            bar = at_most(value, other / FACTOR, f"ms (peer / {FACTOR})") if phase != "delete" else {}
            noises = {"noise": noise(mine), "peer_noise": noise(peer)}
            emit(BENCH, ROW, f"CPU per VThing, {phase}", value, "ms", **_beside(value, other), **noises, **bar)
        for phase, limit in zip(PHASES, (1, 1, 0), strict=True):
            made = writes["ours"][phase]
            beside = {"peer": PEER, "peer_value": writes["kopf"][phase]}
            emit(BENCH, ROW, f"writes on the object per {phase}", made, "requests", **beside, **at_most(made, limit))

    async def latency(self, size: Size) -> None:
        """One creation at a time: from the API server's answer to the status at a watcher."""
        took: dict[str, list[float]] = {}
        for name in ("ours", "kopf"):
            progress(f"{name}: {size.singles} creations, one at a time")
            async with self.operator(name):
                took[name] = await self._one_by_one(size.singles)
                await self._clear(size.singles)
        for percent in (50, 99):
            value, other = (percentile(took[name], percent) for name in ("ours", "kopf"))
            what = f"creation answered → status at a watcher, p{percent}"
            emit(BENCH, ROW, what, value, "ms", **_beside(value, other))

    async def _one_by_one(self, objects: int) -> list[float]:
        """Milliseconds of each."""
        took: list[float] = []
        async with aclosing(self._client.watch("VThing", Selection(NAMESPACE))) as events:
            for number in range(-1, objects):  # the first one only opens the watch
                await self._client.create(vthing(number))
                started = time.monotonic()
                async for event in events:
                    if event.type != "SYNCED" and ready(event.object):
                        break
                took.append(1e3 * (time.monotonic() - started))
        await self._client.delete("VThing", name_of(-1), NAMESPACE)
        return took[1:]

    async def silence(self, size: Size) -> None:
        """Steady objects: who writes anything."""
        async with self.operator("ours") as pid:
            await self.everything(size.objects, lambda n: self._client.create(vthing(n)))
            before, used = self.requests(), cpu_seconds(pid)
            progress(f"{size.objects} steady VThings for {size.idle_s:.0f} s")
            await asyncio.sleep(size.idle_s)  # the measurement is the time that passes
            made, spent = self.requests() - before, cpu_seconds(pid) - used
            await self._clear(size.objects)
        others = sum(count for (resource, _), count in made.items() if resource != "leases")
        what = f"mutating requests but the Lease, {size.objects} steady VThings, {size.idle_s:.0f} s"
        emit(BENCH, ROW, what, others, "requests", lease=sum(made.values()) - others, **at_most(others, 0))
        emit(BENCH, ROW, "CPU while nothing changes", 100 * spent / size.idle_s, "% of one core")

    async def memory(self, size: Size) -> None:
        """Resident memory with many objects in the cache."""
        async with self.operator("ours") as pid:
            empty = rss_mib(pid)
            progress(f"{size.many} VThings")
            await self.everything(size.many, lambda n: self._client.create(vthing(n)))
            emit(BENCH, ROW, f"RSS with {size.many} VThings in the cache", rss_mib(pid), "MiB", empty=empty)
            await self._clear(size.many)

    async def _clear(self, objects: int) -> None:
        await self.everything(objects, lambda n: self._client.delete("VThing", name_of(n), NAMESPACE), gone=True)

    async def _measure(self, pid: int, work: Callable[[], Any]) -> tuple[float, Counter[tuple[str, str]]]:
        """CPU seconds of the operator and its mutating requests on VThings during `work`."""
        before, used = self.requests(), cpu_seconds(pid)
        await work()
        await self._quiet(pid)
        spent = cpu_seconds(pid) - used
        made = self.requests() - before
        return spent, Counter({key: count for key, count in made.items() if key[0] == "vthings"})

    async def _quiet(self, pid: int) -> None:
        """Until the operator has done what comes after the last object: echoes, its own bookkeeping."""
        used = -1.0
        while (now := cpu_seconds(pid)) - used > 0.02:
            used = now
            await asyncio.sleep(1.0)  # CPU time is a number that can only be looked at

    async def everything(self, objects: int, act: Callable[[int], Any], *, gone: bool = False) -> None:
        """Do `act` for every number and wait until the operator has brought each object to Ready (or it is gone)."""
        waiting = {name_of(number) for number in range(objects)}
        version = (await self._client.list("VThing", page=1)).resource_version if objects else ""
        limit = asyncio.Semaphore(PARALLEL)

        async def one(number: int) -> None:
            async with limit:
                await act(number)

        work = asyncio.gather(*(one(number) for number in range(objects)))
        async for event in self._client.watch("VThing", resource_version=version):
            if (event.type == "DELETED") if gone else ready(event.object):
                waiting.discard(event.object["metadata"]["name"])
            if not waiting:
                break
        await work

    def requests(self) -> Counter[tuple[str, str]]:
        """Mutating requests of the operators so far: (resource/subresource, verb) → count."""
        made: Counter[tuple[str, str]] = Counter()
        with self._server.audit_log.open() as lines:
            for line in lines:
                event = json.loads(line)
                if event["userAgent"].startswith(("tephra", "kopf")):
                    made[event["objectRef"]["resource"], event["verb"]] += 1
        return made

    @asynccontextmanager
    async def operator(self, name: str) -> AsyncIterator[int]:
        """The operator's process id, once it has shown that it works; it is stopped at the end."""
        command = [sys.executable, "-m", "bench.foundation.engine_subject", name, str(self._server.kubeconfig)]
        with (self._server.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, stderr=log, stdout=log)  # noqa: ASYNC220 (a fork, no wait)
        try:
            await self.everything(1, lambda n: self._client.create(vthing(n)))
            await self._clear(1)
            await self._quiet(process.pid)
            yield process.pid
        finally:
            process.kill()
            process.wait()


def name_of(number: int) -> str:
    return f"bench.thing{number}"


def vthing(number: int, label: str = "") -> dict[str, Any]:
    """A VThing of ordinary size."""
    spec = {"id": f"bench/thing{number}", "type": "WeatherObserved", "label": label or f"thing {number}"}
    spec["description"] = "A thing of the benchmark with a description of ordinary length."
    metadata = {"name": name_of(number), "namespace": NAMESPACE, "labels": {"tephra.dev/type": "weather"}}
    return {"apiVersion": "tephra.dev/v1alpha1", "kind": "VThing", "metadata": metadata, "spec": spec}


def ready(item: dict[str, Any]) -> bool:
    """Whether the operator has finished this generation."""
    status = item.get("status") or {}
    if status.get("observedGeneration") != item["metadata"]["generation"]:
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())


def cpu_seconds(pid: int) -> float:
    """User and system time of a process (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_mib(pid: int) -> float:
    """Resident set of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024
