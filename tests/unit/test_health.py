"""Health and metrics over HTTP, as the kubelet and Prometheus see them."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tephra.plan.base import BusState, Key, Keys, Plan, Settings
from tephra.reconcile.cache import Cache
from tephra.reconcile.health import HealthServer
from tephra.reconcile.loop import Engine, Ports, Rules
from tephra.reconcile.metrics import Metrics
from tephra.reconcile.queue import Priority, Taken
from tephra.reconcile.world import Surroundings


class Nobody:
    """Not used: nothing is planned here."""

    held, epoch = True, 1
    note = perform = apply_status = healthy = None


def _no_keys() -> Keys:
    return None  # type: ignore[return-value]


def item(kind: str, name: str, reason: str | None = "Ready") -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True"} | ({"reason": reason} if reason else {})
    meta = {"namespace": "a", "name": name, "uid": name, "resourceVersion": "1", "generation": 1}
    return {"kind": kind, "metadata": meta, "status": {"conditions": [condition]}}


@pytest.fixture
async def server() -> AsyncIterator[tuple[HealthServer, str, Engine]]:
    metrics, nobody = Metrics(), Nobody()
    around = Surroundings(BusState, _no_keys(), Settings())
    ports = Ports(nobody, nobody, nobody, metrics, nobody, around)  # type: ignore[arg-type]
    engine = Engine(Cache(), Rules({"VSilo": lambda *_: Plan()}, {}), ports)
    metrics.watch(engine, nobody, ["VSilo", "Pod"], ["VSilo"])
    metrics.passed(Taken(Key("VSilo", "a", "home"), Priority.EDIT, 0.01), "done", 0.002)
    metrics.requested("apply_status", "VSilo", 200, 0.003)
    health = HealthServer(metrics.registry)
    port = await health.start(0, "127.0.0.1")
    yield health, f"http://127.0.0.1:{port}", engine
    await health.close()


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_all_is_well(server: tuple[HealthServer, str, Engine]) -> None:
    _, url, _ = server
    assert await get(f"{url}/livez") == (200, "ok\n")
    assert await get(f"{url}/readyz") == (200, "ok\n")


async def test_what_is_wrong_is_told_by_name(server: tuple[HealthServer, str, Engine]) -> None:
    health, url, _ = server
    health.ready["caches"] = lambda: "the first lists are not complete"
    assert await get(f"{url}/readyz") == (503, "caches: the first lists are not complete\n")
    assert (await get(f"{url}/livez"))[0] == 200


async def test_metrics(server: tuple[HealthServer, str, Engine]) -> None:
    _, url, engine = server
    for name in ("home", "garden"):
        engine.observe(item("VSilo", name))
    engine.observe(item("Pod", "p", reason=None))
    code, text = await get(f"{url}/metrics")
    assert code == 200
    for line in (
        'tephra_condition{kind="VSilo",reason="Ready",status="True",type="Ready"} 2.0',
        'tephra_objects{kind="Pod"} 1.0',
        'tephra_queue_depth{priority="edit"} 2.0',
        "tephra_leader 1.0",
        'tephra_reconcile_total{kind="VSilo",result="done"} 1.0',
        'tephra_kube_requests_total{code="200",kind="VSilo",verb="apply_status"} 1.0',
        'tephra_queue_wait_seconds_count{priority="edit"} 1.0',
    ):
        assert line in text.splitlines()
    assert not [line for line in text.splitlines() if line.startswith("tephra_condition{") and "Pod" in line]
