"""The engine on a real API server: what it writes, what it leaves alone, who acts, and what it finds again."""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest

from tephra import handlers
from tephra.kube.client import Client, Selection
from tephra.kube.config import load
from tephra.kube.errors import Conflict, NotFound
from tephra.kube.lease import Lease, Timing
from tephra.plan.base import EventNote, Key, Object, Plan, World
from tephra.reconcile import status
from tephra.reconcile.events import REPEAT_S, EventRecorder
from tests.support.apiserver import ApiServer
from tests.support.engine import Running, leading, ready, standby

KIND = "VThing"
TESTER = "engine-tester"
_names = itertools.count()


@pytest.fixture
async def kube(api_server: ApiServer) -> AsyncIterator[Client]:
    async with Client(load(str(api_server.kubeconfig)), field_manager=TESTER) as client:
        yield client


@pytest.fixture
def names() -> str:
    """A prefix of this test's own."""
    return f"engine{next(_names)}"


def vthing(visor: str, thing: str = "t", **spec: Any) -> dict[str, Any]:
    meta = {"namespace": "default", "name": f"{visor}.{thing}"}
    spec = {"id": f"{visor}/{thing}", **spec}
    return {"apiVersion": "tephra.dev/v1alpha1", "kind": KIND, "metadata": meta, "spec": spec}


async def until_ready(kube: Client, name: str, generation: int = 1) -> dict[str, Any]:
    """The object once that generation is done."""
    async with asyncio.timeout(30):
        async for event in kube.watch(KIND, Selection("default", fields=f"metadata.name={name}")):
            if (event.object.get("status") or {}).get("observedGeneration") == generation:
                return event.object
    raise AssertionError


async def until_known(running: Running, name: str) -> None:
    async with asyncio.timeout(30):
        while running.engine.cache.get(KIND, "default", name) is None:
            await asyncio.sleep(0.02)


async def until_gone(running: Running, name: str) -> None:
    async with asyncio.timeout(30):
        while running.engine.cache.get(KIND, "default", name) or len(running.engine.queue):
            await asyncio.sleep(0.02)


def api(server: ApiServer) -> Any:
    return load(str(server.kubeconfig))


async def test_one_write_for_a_creation_one_for_an_edit_none_for_a_deletion(
    api_server: ApiServer, kube: Client, names: str
) -> None:
    async with leading(api(api_server), KIND, ready) as running:
        name = f"{names}.t"
        await kube.create(vthing(names))
        await until_ready(kube, name)
        await kube.apply(vthing(names, label="kitchen"))
        item = await until_ready(kube, name, 2)
        await kube.delete(KIND, name, "default")
        await until_gone(running, name)
    assert api_server.writes(name) == {"vthings/status": 2}
    assert item["status"]["label"] == "kitchen"


async def test_nothing_but_status_is_touched(api_server: ApiServer, kube: Client, names: str) -> None:
    created = await kube.create(vthing(names))
    async with leading(api(api_server), KIND, ready):
        item = await until_ready(kube, f"{names}.t")
    volatile = {"managedFields", "resourceVersion"}
    assert {k: v for k, v in item["metadata"].items() if k not in volatile} == {
        k: v for k, v in created["metadata"].items() if k not in volatile
    }
    assert item["spec"] == created["spec"]
    (ours,) = [each for each in item["metadata"]["managedFields"] if each["manager"] == "tephra"]
    assert ours["subresource"] == "status"


async def test_steady_objects_cause_no_write_but_the_lease(api_server: ApiServer, kube: Client, names: str) -> None:
    things = [vthing(names, f"t{number}") for number in range(30)]
    await asyncio.gather(*map(kube.create, things))
    async with leading(api(api_server), KIND, ready) as running:
        for thing in things:
            await until_ready(kube, thing["metadata"]["name"])
        before = api_server.writes()
        for _ in range(3):
            running.engine.resync()
            while len(running.engine.queue) or running.engine.queue.held:
                await asyncio.sleep(0.02)
        assert set(api_server.writes() - before) <= {"leases"}


async def test_a_foreign_status_is_put_right(api_server: ApiServer, kube: Client, names: str) -> None:
    async with leading(api(api_server), KIND, ready):
        item = await kube.create(vthing(names, label="mine"))
        await until_ready(kube, f"{names}.t")
        await kube.apply_status(status.manifest(item, {"label": "theirs"}))
        async with asyncio.timeout(30):
            while (await kube.get(KIND, f"{names}.t", "default"))["status"]["label"] != "mine":
                await asyncio.sleep(0.05)


@contextmanager
def another_process(server: ApiServer, lease: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A leading engine of its own."""
    command = [sys.executable, "-m", "tests.support.engine", str(server.kubeconfig), lease]
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_standby_writes_nothing_and_takes_over_from_a_killed_leader(
    api_server: ApiServer, kube: Client, names: str
) -> None:
    with another_process(api_server, names) as leader:
        await kube.create(vthing(names, "one"))
        await until_ready(kube, f"{names}.one")
        async with standby(api(api_server), KIND, ready, names) as second:
            taking_over = asyncio.create_task(second.lease.acquire())
            await kube.create(vthing(names, "two"))
            await until_ready(kube, f"{names}.two")
            assert not taking_over.done()
            await until_known(second, f"{names}.two")
            epoch = (await kube.get("Lease", names, "default"))["spec"]["leaseTransitions"]
            leader.kill()
            assert await asyncio.wait_for(taking_over, 15) == epoch + 1
            second.engine.start()
            await kube.create(vthing(names, "three"))
            await until_ready(kube, f"{names}.three")
    for thing in ("one", "two", "three"):
        assert api_server.writes(f"{names}.{thing}") == {"vthings/status": 1}


async def test_kopfs_own_processing_delivers_the_same(
    api_server: ApiServer, kube: Client, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "_straight_to", nullcontext)
    async with leading(api(api_server), KIND, ready) as running:
        await kube.create(vthing(names))
        await until_ready(kube, f"{names}.t")
        await kube.delete(KIND, f"{names}.t", "default")
        await until_gone(running, f"{names}.t")
    assert api_server.writes(f"{names}.t") == {"vthings/status": 1}


async def test_what_vanished_unseen_is_found_at_resync(
    api_server: ApiServer, kube: Client, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tephra.reconcile.sync.SETTLE_S", 0.2)
    gone: list[Key] = []

    def plan(desired: Object | None, key: Key, world: World) -> Plan:
        if desired is None:
            gone.append(key)
        return ready(desired, key, world)

    async with leading(api(api_server), KIND, plan) as running:
        ghost = vthing(names, "ghost")
        ghost["metadata"] |= {"uid": "no-such-uid", "resourceVersion": "1", "generation": 1}
        running.engine.cache.observe(ghost)
        await running.sync.resync()
        await until_gone(running, f"{names}.ghost")
        async with asyncio.timeout(10):
            while not gone:
                await asyncio.sleep(0.02)
    assert gone == [Key(KIND, "default", f"{names}.ghost")]
    assert not running.sync.deaf


async def test_a_deaf_watch_is_noticed(
    api_server: ApiServer, kube: Client, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tephra.reconcile.sync.SETTLE_S", 0.2)
    async with standby(api(api_server), KIND, ready, repairing=False) as running:
        await kube.create(vthing(names))
        await until_known(running, f"{names}.t")
        monkeypatch.setattr(running.engine, "observe", lambda *_, **__: None)
        await kube.apply(vthing(names, label="unheard"))
        await running.sync.resync()
        assert running.sync.deaf == {KIND}
        known = running.engine.cache.get(KIND, "default", f"{names}.t")
        assert known
        assert known["spec"]["label"] == "unheard", "and repaired"


async def test_nothing_is_made_by_a_late_status_nor_deleted_by_a_late_deletion(kube: Client, names: str) -> None:
    first = await kube.create(vthing(names))
    await kube.delete(KIND, f"{names}.t", "default", uid=first["metadata"]["uid"])
    with pytest.raises(NotFound):
        await kube.apply_status(status.manifest(first, {"label": "late"}))
    await kube.create(vthing(names))
    with pytest.raises(Conflict):
        await kube.delete(KIND, f"{names}.t", "default", uid=first["metadata"]["uid"])


async def test_events_as_the_api_server_takes_them(kube: Client, names: str) -> None:
    item = await kube.create(vthing(names))
    time = [0.0]
    recorder = EventRecorder(kube, "tester-0", clock=lambda: time[0])
    writing = asyncio.create_task(recorder.run())
    note = EventNote("NotAnnounced", "its ThingVisor does not serve it", "Warning")
    for _ in range(5):
        recorder.note(item, note)
        time[0] += REPEAT_S / 2
    async with asyncio.timeout(10):
        while True:
            found = (await kube.list("Event", Selection("default"))).items
            mine = [each for each in found if each["regarding"].get("uid") == item["metadata"]["uid"]]
            if mine and mine[0].get("series", {}).get("count") == 5:
                break
            await asyncio.sleep(0.05)
    writing.cancel()
    assert len(mine) == 1
    assert (mine[0]["reason"], mine[0]["note"], mine[0]["type"]) == (note.reason, note.message, "Warning")


async def test_a_lease_as_the_api_server_takes_it(kube: Client, names: str) -> None:
    quick = Timing(renew_every_s=0.1)
    first, second = (
        Lease(kube, namespace="default", name=names, identity=who, timing=quick) for who in ("first", "second")
    )
    epoch = await first.acquire()
    holding = asyncio.create_task(first.hold())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(second.acquire(), 0.5)
    spec = (await kube.get("Lease", names, "default"))["spec"]
    assert spec["renewTime"] > spec["acquireTime"]
    holding.cancel()
    await first.release()
    assert await second.acquire() == epoch + 1
    spec = (await kube.get("Lease", names, "default"))["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", epoch + 1)
