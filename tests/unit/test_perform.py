"""The performer: sends only what changes something, in an order that pods can live with, and undoes foreign edits."""

import asyncio
import base64
import itertools
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import pytest

from tephra.act.perform import VERIFY_S, NotOurs, Performer, holds
from tephra.api import labels
from tephra.bus.roles import Role
from tephra.kube.errors import Forbidden, NotFound, Unreachable
from tephra.plan.base import Action, Apply, BusAccess, BusForget, BusPublish, Delete, EventNote, Key
from tephra.reconcile.cache import Cache

Object = dict[str, Any]


class MemoryCluster:
    """Keeps whole manifests as an API server would, and logs every request; ``failing`` maps names to errors."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.log: list[str] = []
        self.failing: dict[str, Exception] = {}
        self._versions = itertools.count(1)

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        self.log.append(f"get {kind}")
        found = self.objects.get(Key(kind, namespace or "", name))
        if found is None:
            raise NotFound(f"get {kind} {name}", "not found")
        return deepcopy(found)

    async def apply(self, manifest: Mapping[str, Any]) -> Object:
        self.log.append(f"apply {manifest['kind']}")
        await asyncio.sleep(0)
        if error := self.failing.get(manifest["metadata"]["name"]):
            raise error
        return self.store(deepcopy(dict(manifest)))

    async def delete(self, kind: str, name: str, namespace: str | None = None, *, uid: str | None = None) -> None:
        self.log.append(f"delete {kind}")
        if self.objects.pop(Key(kind, namespace or "", name), None) is None:
            raise NotFound(f"delete {kind} {name}", "not found")

    def store(self, item: Object) -> Object:
        before = self.objects.get(Key.of(item))
        meta = item["metadata"]
        meta["uid"] = before["metadata"]["uid"] if before else f"uid-{meta['name']}"
        meta["resourceVersion"] = str(next(self._versions))
        changed = before is None or before.get("spec") != item.get("spec")
        meta["generation"] = (before["metadata"]["generation"] if before else 0) + changed
        self.objects[Key.of(item)] = item
        return deepcopy(item)

    def taken(self) -> list[str]:
        log, self.log = self.log, []
        return log


class MemoryBus:
    """Logs what is asked of the bus."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.failing: Exception | None = None

    async def publish(self, topic: str, payload: bytes | None, *, retain: bool) -> None:
        self.log.append(f"publish {topic}")

    async def grant(self, identity: str, password: str, role: Role) -> None:
        if self.failing:
            raise self.failing
        self.log.append(f"grant {identity}")

    async def forget(self, identity: str) -> None:
        self.log.append(f"forget {identity}")


class Stage:
    """A performer in its surroundings."""

    def __init__(self) -> None:
        self.kube, self.cache, self.now = MemoryCluster(), Cache(), 1000.0
        self.bus = MemoryBus([])
        self.restart()

    def restart(self) -> None:
        self.performer = Performer(self.kube, self.bus, self.cache, self.cache.observe, lambda: self.now)

    async def perform(self, *actions: Action) -> Iterable[EventNote]:
        return await self.performer.perform(actions, lambda: None)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def manifest(kind: str, name: str = "silo-home", **content: Any) -> Object:
    api = {"Deployment": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1"}.get(kind, "v1")
    meta = {"namespace": "tenant-a", "name": name, "labels": {labels.MANAGED_BY: labels.TEPHRA}}
    return {"apiVersion": api, "kind": kind, "metadata": meta, **content}


DEPLOYMENT = manifest("Deployment", spec={"replicas": 1, "template": {"spec": {"containers": [{"name": "a"}]}}})
SECRET = manifest("Secret", stringData={"password": "p"})


async def test_a_steady_watched_object_costs_nothing(stage: Stage) -> None:
    await stage.perform(Apply(DEPLOYMENT))
    assert stage.kube.taken() == ["apply Deployment"]
    await stage.perform(Apply(DEPLOYMENT))
    stage.restart()
    await stage.perform(Apply(DEPLOYMENT))
    assert stage.kube.taken() == []


async def test_a_steady_secret_is_looked_at_now_and_then(stage: Stage) -> None:
    await stage.perform(Apply(SECRET))
    assert stage.kube.taken() == ["get Secret", "apply Secret"]
    await stage.perform(Apply(SECRET))
    assert stage.kube.taken() == []
    stage.now += VERIFY_S
    await stage.perform(Apply(SECRET))
    assert stage.kube.taken() == ["get Secret"]
    stage.restart()
    await stage.perform(Apply(SECRET))
    assert stage.kube.taken() == ["get Secret"]


async def test_a_lost_secret_is_made_again_as_it_was(stage: Stage) -> None:
    await stage.perform(Apply(SECRET))
    before = stage.kube.objects.pop(Key.of(SECRET))
    stage.now += VERIFY_S
    await stage.perform(Apply(SECRET))
    assert stage.kube.objects[Key.of(SECRET)]["data"] == before["data"] == {"password": base64.b64encode(b"p").decode()}


async def test_a_changed_manifest_is_applied_also_when_it_only_leaves_something_out(stage: Stage) -> None:
    await stage.perform(Apply(DEPLOYMENT))
    less = deepcopy(DEPLOYMENT)
    del less["spec"]["replicas"]
    await stage.perform(Apply(less))
    assert stage.kube.taken() == ["apply Deployment", "apply Deployment"]


async def test_a_foreign_edit_of_our_field_is_undone_with_an_event(stage: Stage) -> None:
    await stage.perform(Apply(DEPLOYMENT))
    edited = deepcopy(stage.kube.objects[Key.of(DEPLOYMENT)])
    edited["spec"]["replicas"] = 0
    stage.cache.observe(stage.kube.store(edited))
    (note,) = await stage.perform(Apply(DEPLOYMENT))
    assert (note.reason, note.type) == ("Reverted", "Warning")
    assert stage.kube.objects[Key.of(DEPLOYMENT)]["spec"]["replicas"] == 1
    assert not await stage.perform(Apply(DEPLOYMENT))


async def test_a_foreign_edit_of_another_field_is_left_alone(stage: Stage) -> None:
    await stage.perform(Apply(DEPLOYMENT))
    edited = deepcopy(stage.kube.objects[Key.of(DEPLOYMENT)])
    edited["spec"]["paused"] = True
    stage.cache.observe(stage.kube.store(edited))
    stage.kube.taken()
    assert not await stage.perform(Apply(DEPLOYMENT))
    assert stage.kube.taken() == []


async def test_what_pods_need_comes_before_the_deployment_and_deletions_last(stage: Stage) -> None:
    old = manifest("Service", "old")
    stage.cache.observe(stage.kube.store(old))
    delete = Delete(Key.of(old), "uid-old")
    await stage.perform(delete, Apply(DEPLOYMENT), Apply(SECRET), Apply(manifest("ConfigMap")))
    log = stage.kube.taken()
    assert sorted(log[:4]) == ["apply ConfigMap", "apply Secret", "get ConfigMap", "get Secret"]
    assert log[4:] == ["apply Deployment", "delete Service"]


async def test_the_bus_keeps_the_order_of_the_plan(stage: Stage) -> None:
    access = BusAccess("silo.a.b", "p", frozenset())
    await stage.perform(access, BusPublish("vSilo/a.b/c_in", b"{}"), BusForget("silo.a.c"))
    assert stage.bus.log == ["grant silo.a.b", "publish vSilo/a.b/c_in", "forget silo.a.c"]


async def test_one_failure_does_not_keep_the_rest_from_being_done(stage: Stage) -> None:
    stage.kube.failing["silo-home"] = Unreachable("apply", "no answer")
    stage.kube.failing["refused"] = Forbidden("apply", "no")
    stage.bus.failing = ConnectionError("bus")
    other = manifest("ConfigMap", "other")
    with pytest.raises(ConnectionError):
        await stage.perform(
            Apply(SECRET), Apply(other), BusAccess("tv.a.b", "p", frozenset()), BusPublish("TV/a.b/c_in", b"{}")
        )
    assert Key.of(other) in stage.kube.objects
    assert stage.bus.log == [], "what follows a failure on the bus may depend on it"


async def test_nothing_is_done_without_the_lease(stage: Stage) -> None:
    class LeaseLost(Exception):
        pass

    def refuse() -> None:
        raise LeaseLost

    with pytest.raises(LeaseLost):
        await stage.performer.perform([Apply(SECRET), BusForget("tv.a.b")], refuse)
    assert stage.kube.log == stage.bus.log == []


async def test_only_our_own_objects_are_deleted(stage: Stage) -> None:
    theirs = manifest("Service", "theirs")
    del theirs["metadata"]["labels"]
    stage.cache.observe(stage.kube.store(theirs))
    with pytest.raises(NotOurs, match="Service tenant-a/theirs"):
        await stage.perform(Delete(Key.of(theirs), "uid-theirs"))
    assert stage.kube.log == []


async def test_deleting_what_is_gone_is_fine(stage: Stage) -> None:
    await stage.perform(Delete(Key("Service", "tenant-a", "gone"), "uid-gone"))


@pytest.mark.parametrize(
    ("wanted", "live", "answer"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": {}}, {}, True),
        ({"a": []}, {"a": None}, True),
        ({"a": None}, {}, True),
        ({"a": {"b": 1}}, {}, False),
        ({"cpu": "1000m"}, {"cpu": "1"}, True),
        ({"memory": "1024Mi"}, {"memory": "1Gi"}, True),
        ({"memory": "128Mi"}, {"memory": "128M"}, False),
        ({"readOnly": False}, {}, True),
        ([{"a": 1}], [{"a": 1, "protocol": "TCP"}], True),
        ([1], [1, 2], False),
    ],
)
def test_holds(wanted: Any, live: Any, answer: bool) -> None:
    assert holds(wanted, live) is answer
