"""ThingVisor: run the program of its type, tell it what to serve, and keep the catalogue as it announces.

What goes wrong with the type, the params or the pod leaves what runs as it is: the old pod goes on with the old
params, and the catalogue goes on following it. Neighbours: :mod:`.thingvisor_children` renders, :mod:`.vthing`
judges the entries of the catalogue, the SDK (:mod:`tephra.things`) is at the other end of the bus.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tephra.api.conditions import Reason, Type
from tephra.api.thingvisor import ThingVisorSpec
from tephra.api.thingvisortype import ThingVisorTypeSpec
from tephra.bus import roles, topics
from tephra.bus.messages import DeclaredThing, Health, ThingVisorDesired, ThingVisorReport
from tephra.formats.names import InvalidName, bus_identity, vthing_name
from tephra.plan import params, pod_state
from tephra.plan import thingvisor_children as made
from tephra.plan.base import (
    Action,
    Apply,
    BusAccess,
    BusPublish,
    Delete,
    EventNote,
    Key,
    Object,
    Plan,
    World,
)
from tephra.plan.bus_state import forget, no_bus, revision_of, settles_in
from tephra.plan.children import Manifest, identity_of, is_ours, password_of
from tephra.plan.conditions import Finding, judge, mending, stalled, tenancy, working

VTHINGS_OF = "vthings-of-thingvisor"
"""Index: VThings under ``namespace/thingVisor``."""

_SOURCE = {
    Reason.UNREACHABLE: mending,
    Reason.RATE_LIMITED: mending,
    Reason.BAD_RESPONSE: mending,
    Reason.UNAUTHORIZED: stalled,
    Reason.SECRET_MISSING: stalled,
}
"""What a ThingVisor may say of its source, and whether somebody has to act."""


@dataclass(frozen=True, slots=True)
class _Program:
    """What to run and what to tell it; both are None where the last of the findings says why."""

    findings: tuple[Finding, ...]
    kind: ThingVisorTypeSpec | None = None
    told: ThingVisorDesired | None = None


def plan(desired: Object | None, key: Key, world: World) -> Plan:
    """What a ThingVisor needs, and how it fares."""
    identity = bus_identity(key.namespace, key.name)
    if desired is None:
        gone = (topics.tv_in(identity), topics.tv_out(identity))
        return Plan(forget(made.user_of(identity), gone, f"vThing/{identity}/", world))
    spec = ThingVisorSpec.model_validate(desired["spec"])
    report = world.bus.thing_visors.get(identity)
    program = _program(desired, spec, report, world)
    deployment = made.deployment(desired, spec, program.kind) if program.kind else None
    findings = [
        *program.findings,
        pod_state.observe(world, desired, made.name_of(desired), deployment).whole(made.CONTAINER, Type.POD_READY),
        _source(desired, spec, program.told, world),
    ]
    verdict = judge(desired, findings, "the source is served", [tenancy(world)])
    catalogue = _Catalogue(desired, spec, report, world)
    return Plan(
        actions=(*_running(desired, program, deployment, world), *catalogue.actions()),
        status={
            "conditions": verdict.conditions,
            "vThings": len(report.v_things) if report else 0,
            "health": report.health.message[:1024] if report else "",
        },
        events=(*verdict.events, *catalogue.events()),
        requeue_after=settles_in(report, world.now),
        settled=verdict.settled,
    )


def _program(desired: Object, spec: ThingVisorSpec, report: ThingVisorReport | None, world: World) -> _Program:
    item = world.get("ThingVisorType", "", spec.type)
    if item is None:
        message = f"ThingVisorType {spec.type} does not exist; apply it, or make a ThingVisor of another type"
        return _Program((stalled(Type.TYPE_RESOLVED, Reason.TYPE_NOT_FOUND, message),))
    kind = ThingVisorTypeSpec.model_validate(item["spec"])
    resolved = Finding(Type.TYPE_RESOLVED, Reason.RESOLVED)
    try:
        completed = params.complete(kind.params.schema_, spec.params)
    except params.SchemaInvalid as error:
        message = f"ThingVisorType {spec.type}: {error}; its author has to mend the schema"
        return _Program((stalled(Type.TYPE_RESOLVED, Reason.SCHEMA_INVALID, message),))
    except params.ParamsInvalid as error:
        message = f"{error} (schema of ThingVisorType {spec.type}); what was valid before stays in force"
        return _Program((resolved, stalled(Type.PARAMS_VALID, Reason.PARAMS_INVALID, message)))
    valid = _accepted(desired, report)
    if (lacking := _secret_lacking(spec, kind)) is not None:
        return _Program((resolved, valid, lacking))
    return _Program((resolved, valid), kind, _told(desired, completed, world))


def _accepted(desired: Object, report: ThingVisorReport | None) -> Finding:
    """Params that satisfy the schema may still be refused by the program itself."""
    if report and report.params_error and report.observed_generation == desired["metadata"]["generation"]:
        message = f"the ThingVisor refuses spec.params: {report.params_error}; what was valid before stays in force"
        return stalled(Type.PARAMS_VALID, Reason.PARAMS_INVALID, message)
    return Finding(Type.PARAMS_VALID, Reason.VALID)


def _secret_lacking(spec: ThingVisorSpec, kind: ThingVisorTypeSpec) -> Finding | None:
    required = [key.name for key in kind.secret_keys if key.required]
    if not required or spec.secret_ref:
        return None
    message = f"ThingVisorType {spec.type} needs a Secret with {', '.join(required)}; name it in spec.secretRef"
    return stalled(Type.READY, Reason.SECRET_MISSING, message)


def _told(desired: Object, completed: dict[str, Any], world: World) -> ThingVisorDesired:
    meta = desired["metadata"]
    declared = [
        DeclaredThing(
            thing=item["spec"]["id"].partition("/")[2],
            revision=revision_of(item["spec"]["params"]),
            params=item["spec"]["params"],
        )
        for item in world.indexed(VTHINGS_OF, f"{meta['namespace']}/{meta['name']}")
        if item["spec"].get("params") is not None
    ]
    v_things = tuple(sorted(declared, key=lambda each: each.thing))
    return ThingVisorDesired(generation=meta["generation"], params=completed, v_things=v_things)


def _running(desired: Object, program: _Program, deployment: Manifest | None, world: World) -> Iterator[Action]:
    """The pod, its identity on the bus and its desired state, as far as the spec allows."""
    if program.kind is None or program.told is None or deployment is None:
        return
    if world.bus.connected:
        identity = identity_of(desired)
        yield BusAccess(made.user_of(identity), password_of(desired, world), roles.thing_visor_role(identity))
        yield BusPublish(topics.tv_in(identity), program.told.encode())
    for manifest in made.supporting(desired, program.kind, world):
        yield Apply(manifest)
    yield Apply(deployment)


def _source(desired: Object, spec: ThingVisorSpec, told: ThingVisorDesired | None, world: World) -> Finding:
    """What the ThingVisor itself says: first whether it has this generation, then how its source fares."""
    report = world.bus.thing_visors.get(identity_of(desired))
    if not world.bus.connected:
        return no_bus(Type.SOURCE_HEALTHY)
    if report is None or (told and report.observed_generation != told.generation):
        message = "the ThingVisor has not yet reported that it has this generation"
        return working(Type.SOURCE_HEALTHY, Reason.WAITING_FOR_REPORT, message)
    return _health(report.health, spec, desired["metadata"]["namespace"])


def _health(health: Health, spec: ThingVisorSpec, namespace: str) -> Finding:
    if health.ok:
        return Finding(Type.SOURCE_HEALTHY, Reason.HEALTHY)
    known = health.reason in _SOURCE
    reason = Reason(health.reason) if known else Reason.BAD_RESPONSE
    message = health.message if known else f"{health.reason}: {health.message}"
    if spec.secret_ref and reason in (Reason.SECRET_MISSING, Reason.UNAUTHORIZED):
        message = f"Secret {namespace}/{spec.secret_ref.name}: {message}"
    return _SOURCE[reason](Type.SOURCE_HEALTHY, reason, message)


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """The VThings of one ThingVisor: announced ones are there, withdrawn ones of ours are not."""

    owner: Object
    spec: ThingVisorSpec
    report: ThingVisorReport | None
    world: World

    def actions(self) -> Iterator[Action]:
        if self.report is None:
            return
        namespace = self.owner["metadata"]["namespace"]
        wanted = set()
        for thing in self.report.v_things:
            if (name := self._name(thing.thing)) is None:
                continue
            wanted.add(name)
            live = self.world.get("VThing", namespace, name)
            if live is None or is_ours(live):  # what a person wrote is adopted as it is
                yield Apply(made.vthing(self.owner, self.spec, thing))
        if settles_in(self.report, self.world.now) is None:
            yield from self._withdrawn(wanted)

    def _withdrawn(self, wanted: set[str]) -> Iterator[Action]:
        for item in self.world.children(self.owner["metadata"]["uid"], "VThing"):
            if is_ours(item) and item["metadata"]["name"] not in wanted:
                yield Delete(Key.of(item), item["metadata"]["uid"])

    def events(self) -> Iterator[EventNote]:
        for thing in self.report.v_things if self.report else ():
            if self._name(thing.thing) is None:
                message = f"thing {thing.thing[:80]!r} is announced, but its name is empty or longer than 112 bytes"
                yield EventNote(Reason.NAME_MISMATCH, message, "Warning")

    def _name(self, thing: str) -> str | None:
        try:
            return vthing_name(self.owner["metadata"]["name"], thing)
        except InvalidName:
            return None
