"""Worlds for planners: the engine's own cache and snapshot, filled by hand, with real derived credentials.

``World().have(...)`` adds objects, ``say`` what the bus reports, ``plan`` decides, and ``perform`` plays the cluster:
it applies what the plan asks for and lets pods become ready. No I/O, no clock.
"""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import count
from typing import Any

from tephra.act.credentials import CertificateAuthority, DerivedKeys, certificate_authority
from tephra.api import API_VERSION, labels
from tephra.bus.messages import (
    Announcement,
    Attachment,
    AttachmentState,
    SiloDesired,
    SiloReport,
    ThingVisorReport,
)
from tephra.plan import PLANNERS
from tephra.plan.base import Apply, BusPublish, BusState, Delete, Key, Plan, Settings, fingerprint
from tephra.plan.relations import INDEXES
from tephra.reconcile.cache import Cache
from tephra.reconcile.status import complete
from tephra.reconcile.world import Snapshot

NOW = 1_800_000_000.0
CREATED = "2027-01-15T07:00:00Z"
"""An hour before NOW."""
LONG_AGO = int(NOW - 3600) * 1000
"""Epoch of a ThingVisor that has announced everything, in ms."""
Manifest = dict[str, Any]


@cache
def keys() -> DerivedKeys:
    master = bytes(32)
    return DerivedKeys(master, CertificateAuthority(*certificate_authority(master, NOW)))


def custom(kind: str, name: str, spec: Manifest, namespace: str = "", **meta: Any) -> Manifest:
    """One of our kinds as the API server would hold it."""
    metadata = {"name": name, "uid": f"uid-{kind}-{namespace}-{name}", "generation": 1, "creationTimestamp": CREATED}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata | meta, "spec": spec}


def namespace(name: str, **marks: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": f"ns-{name}", "labels": marks}}


def flavour(**spec: Any) -> Manifest:
    broker = {"image": "broker:1", "ports": [{"name": "mqtts", "port": 8883, "protocol": "mqtts"}]}
    return custom("Flavour", "mqtt", {"protocol": "mqtt", "broker": broker, "controller": {"image": "silo:1"}} | spec)


def visor_type(**spec: Any) -> Manifest:
    return custom("ThingVisorType", "hello", {"image": "hello:1"} | spec)


def visor(generation: int = 1, **spec: Any) -> Manifest:
    return custom("ThingVisor", "hello", {"type": "hello"} | spec, "things", generation=generation)


def vthing(name: str, id_: str, *, ours: bool = True, **spec: Any) -> Manifest:
    marks = {labels.MANAGED_BY: labels.TEPHRA, labels.OWNER_UID: "uid-ThingVisor-things-hello"} if ours else {}
    return custom("VThing", name, {"id": id_} | spec, "things", labels=marks)


def silo(*ids: str, generation: int = 1, **spec: Any) -> Manifest:
    refs = [{"id": each} for each in ids]
    return custom("VSilo", "home", {"flavour": "mqtt", "vThings": refs} | spec, "tenant", generation=generation)


def visor_report(*things: str, observed: int = 1, **said: Any) -> ThingVisorReport:
    announced = tuple(Announcement(thing=thing) for thing in things)
    report: dict[str, Any] = {"observed_generation": observed, "epoch": LONG_AGO, "v_things": announced}
    return ThingVisorReport(**report | said)


def confirm(told: SiloDesired, **said: Any) -> SiloReport:
    """What a controller says that has put everything in force."""
    attached = tuple(Attachment(id=thing.id, state=AttachmentState.ATTACHED) for thing in told.v_things)
    report: dict[str, Any] = {"observed_generation": told.generation, "revision": told.revision}
    report |= {"epoch": 1, "broker_ready": True}
    return SiloReport(**report | {"v_things": attached} | said)


class World:
    """A cluster and a bus in the hand."""

    def __init__(self, *items: Manifest, settings: Settings | None = None) -> None:
        self.cache, self.settings, self.now = Cache(INDEXES), settings or Settings(), NOW
        self.bus = BusState(connected=True, enforced=True)
        self._versions = count(1)
        self.have(*items)

    def have(self, *items: Manifest) -> "World":
        for item in items:
            stored = deepcopy(item)
            stored["metadata"]["resourceVersion"] = str(next(self._versions))
            self.cache.observe(stored)
        return self

    def lose(self, *items: Manifest) -> "World":
        for item in items:
            self.cache.observe(deepcopy(item), gone=True)
        return self

    def say(self, report: ThingVisorReport | SiloReport | None, identity: str = "") -> "World":
        """A report of ThingVisor things/hello or VSilo tenant/home (or of ``identity``)."""
        if isinstance(report, SiloReport):
            self.bus = replace(self.bus, silos={**self.bus.silos, identity or "tenant.home": report})
        elif report is not None:
            self.bus = replace(self.bus, thing_visors={**self.bus.thing_visors, identity or "things.hello": report})
        return self

    def snapshot(self) -> Snapshot:
        return Snapshot(self.cache, self.bus, self.now, 1, keys(), self.settings)

    def plan(self, item: Manifest) -> Plan:
        """The plan for an object, as the cache holds it now (gone if it does not)."""
        key = Key.of(item)
        return PLANNERS[key.kind](self.cache.get(*key), key, self.snapshot())

    def perform(self, plan: Plan, *, ready: bool = True) -> "World":
        """Children become as planned; pods of Deployments run, ready or not."""
        for action in plan.actions:
            if isinstance(action, Apply):
                self._apply(dict(action.manifest), ready)
            elif isinstance(action, Delete):
                live = self.cache.get(*action.key)
                self.lose(dict(live or {}))
        return self

    def report(self, item: Manifest, plan: Plan) -> Manifest:
        """Write the plan's status as the engine would; returns the object."""
        live = dict(self.cache.get(*Key.of(item)) or {})
        live["status"] = complete(plan, live, live.get("status") or {}, self.now)
        self.have(live)
        return live

    def settle(self, item: Manifest, rounds: int = 3) -> Plan:
        """Plan and perform until the silo's controller and all pods have caught up; the last plan."""
        for _ in range(rounds):
            plan = self.plan(item)
            self.perform(plan)
            if item["kind"] == "VSilo" and (told := told_silo(plan)):
                self.say(confirm(told, credentials_epoch=item["spec"].get("credentials", {}).get("epoch", 0)))
        return self.plan(item)

    def _apply(self, manifest: Manifest, ready: bool) -> None:
        live = deepcopy(manifest)
        meta = live["metadata"]
        before = self.cache.get(*Key.of(manifest))
        changed = before is None or before["metadata"]["annotations"][labels.APPLIED] != fingerprint(manifest)
        generation = (before["metadata"]["generation"] if before else 0) + changed
        meta |= {
            "uid": f"uid-{manifest['kind']}-{meta['name']}",
            "generation": generation,
            "creationTimestamp": CREATED,
        }
        meta["annotations"] = {labels.APPLIED: fingerprint(manifest)}
        if manifest["kind"] == "Service" and manifest["spec"]["type"] != "ClusterIP":
            for number, port in enumerate(live["spec"]["ports"]):
                port["nodePort"] = 30000 + number
        if manifest["kind"] == "Deployment":
            live["status"] = {"observedGeneration": generation, "updatedReplicas": 1, "readyReplicas": int(ready)}
            self.have(pod_of(live, ready=ready))
        self.have(live)


def pod_of(deployment: Manifest, *, ready: bool = True, **status: Any) -> Manifest:
    """The pod of a Deployment; ``status`` replaces parts of the status of each container."""
    template, meta = deployment["spec"]["template"], deployment["metadata"]
    containers = [
        {"name": each["name"], "image": each["image"], "ready": ready, "restartCount": 0, "state": {}} | status
        for each in template["spec"]["containers"]
    ]
    marks = {"name": f"{meta['name']}-1", "namespace": meta["namespace"], "uid": f"uid-pod-{meta['name']}"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": marks | {"labels": template["metadata"]["labels"], "creationTimestamp": CREATED},
        "spec": {"nodeName": "node-1"},
        "status": {"containerStatuses": containers},
    }


def told_silo(plan: Plan) -> SiloDesired | None:
    """What the plan tells the silo's controller."""
    payloads = [action.payload for action in plan.actions if isinstance(action, BusPublish)]
    return SiloDesired.decode(payloads[0]) if payloads and payloads[0] else None


def applied(plan: Plan, kind: str, name: str = "") -> Manifest:
    """The one manifest of a kind (and name) that the plan applies."""
    found = [
        action.manifest
        for action in plan.actions
        if isinstance(action, Apply)
        and action.manifest["kind"] == kind
        and name in ("", action.manifest["metadata"]["name"])
    ]
    assert len(found) == 1, f"{kind} {name}: {len(found)} of them"
    return dict(found[0])


def condition(plan: Plan, type_: str) -> tuple[str, str]:
    """(status, reason) of a condition; empty texts when it is absent."""
    assert plan.status is not None
    for each in plan.status["conditions"]:
        if each["type"] == type_:
            return each["status"], each["reason"]
    return "", ""


def message(plan: Plan, type_: str = "Ready") -> str:
    assert plan.status is not None
    return next(str(each["message"]) for each in plan.status["conditions"] if each["type"] == type_)
