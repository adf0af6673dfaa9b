"""The vThings of a vSilo: which are granted (contracts §5), and what became of each.

Access is looked at before existence, so that a tenant does not learn the things of a ThingVisor that is closed to it.
One that cannot be attached never keeps the others from it. Neighbours: :mod:`.access`, :mod:`.vsilo`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tephra.api.conditions import Reason, Type
from tephra.api.thingvisor import ThingVisorAccess
from tephra.api.vsilo import VThingRef
from tephra.bus.messages import AttachedThing, Attachment, AttachmentState, SiloReport
from tephra.formats.names import InvalidName, ThingId, parse_thing_id
from tephra.plan.access import allows
from tephra.plan.base import Object, World
from tephra.plan.bus_state import settles_in
from tephra.plan.conditions import Finding, Outlook

_TEXT = 1024
"""Longest message that the status takes."""


@dataclass(frozen=True, slots=True)
class Link:
    """One vThing of the spec. ``granted``: what the silo is told; None where ``state`` says why not."""

    id: str
    state: str
    reason: Reason
    message: str
    outlook: Outlook
    granted: AttachedThing | None = None
    settles: float | None = None
    """Seconds after which an absence is held to be meant."""

    def status(self) -> dict[str, str]:
        said = {"message": self.message[:_TEXT]} if self.message else {}
        return {"id": self.id, "state": self.state, **said}


def resolve(refs: Iterable[VThingRef], silo: Object, report: SiloReport | None, world: World) -> tuple[Link, ...]:
    """Every vThing of the spec, in its order; what the report says counts for the granted ones."""
    namespace = silo["metadata"]["namespace"]
    labels = ((world.get("Namespace", "", namespace) or {}).get("metadata") or {}).get("labels") or {}
    said = {each.id: each for each in report.v_things} if report else {}
    return tuple(_with_report(_link(ref, namespace, labels, world), said.get(ref.id)) for ref in refs)


def _link(ref: VThingRef, namespace: str, labels: Mapping[str, str], world: World) -> Link:
    try:
        thing = parse_thing_id(ref.id)
        name = thing.name
    except InvalidName as error:
        return _not_found(ref, str(error))
    visor = world.get("ThingVisor", thing.namespace, thing.thing_visor)
    if visor is None:
        return _not_found(ref, f"ThingVisor {thing.namespace}/{thing.thing_visor} does not exist")
    if (denied := _denied(ref, thing, visor, namespace, labels)) is not None:
        return denied
    exists = world.get("VThing", thing.namespace, name) is not None
    return _granted(ref, thing, world) if exists else _absent(ref, thing, world)


def _granted(ref: VThingRef, thing: ThingId, world: World) -> Link:
    report = world.bus.thing_visors.get(thing.bus_identity)
    granted = AttachedThing(id=ref.id, tv=thing.bus_identity, thing=thing.thing, commands=bool(ref.commands))
    if report is not None and thing.thing in report.by_thing:
        return Link(ref.id, "Pending", Reason.PROGRESSING, "is being attached", Outlook.WORKING, granted)
    message = f"ThingVisor {thing.namespace}/{thing.thing_visor} does not announce it; see VThing {thing.name}"
    return Link(ref.id, "Pending", Reason.NOT_ANNOUNCED, message, Outlook.MENDING, granted)


def _absent(ref: VThingRef, thing: ThingId, world: World) -> Link:
    """There is no VThing: never, or not yet."""
    report, visor = world.bus.thing_visors.get(thing.bus_identity), f"{thing.namespace}/{thing.thing_visor}"
    settles = settles_in(report, world.now)
    if report is not None and settles is None:
        return _not_found(ref, f"ThingVisor {visor} announces no such thing")
    message = f"ThingVisor {visor} is starting and has not announced it yet"
    return Link(ref.id, "Pending", Reason.THINGVISOR_NOT_READY, message, Outlook.WORKING, settles=settles)


def _not_found(ref: VThingRef, cause: str) -> Link:
    message = f"{cause}; kubectl get vthings -A lists what there is"
    return Link(ref.id, "NotFound", Reason.VTHING_NOT_FOUND, message, Outlook.STALLED)


def _denied(ref: VThingRef, thing: ThingId, visor: Object, namespace: str, labels: Mapping[str, str]) -> Link | None:
    access = ThingVisorAccess.model_validate(visor["spec"].get("access") or {})
    asked = {"read": access.read} | ({"command": access.command} if ref.commands else {})
    for verb, rule in asked.items():
        if not allows(rule, thing.namespace, namespace, labels):
            message = (
                f"ThingVisor {thing.namespace}/{thing.thing_visor} does not let namespace {namespace} {verb} its"
                f" vThings; its owner has to allow it in spec.access.{verb}"
            )
            return Link(ref.id, "Denied", Reason.ACCESS_DENIED, message, Outlook.STALLED)
    return None


def _with_report(link: Link, said: Attachment | None) -> Link:
    if link.granted is None or said is None or link.reason is Reason.NOT_ANNOUNCED:
        return link
    if said.state is AttachmentState.ATTACHED:
        return Link(link.id, "Attached", Reason.ATTACHED, "", Outlook.GOOD, link.granted)
    message = said.message or "the silo's controller could not attach it"
    return Link(link.id, "Failed", Reason.ATTACH_FAILED, message, Outlook.MENDING, link.granted)


_GRAVITY = (Outlook.STALLED, Outlook.WORKING, Outlook.MENDING)


def finding(links: Sequence[Link]) -> Finding:
    """All vThings in one judgement: what somebody has to mend first, then what is still going on."""
    for outlook in _GRAVITY:
        if found := [link for link in links if link.outlook is outlook]:
            first, more = found[0], f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            message = f"vThing {first.id}: {first.message}{more}"
            return Finding(Type.VTHINGS_ATTACHED, first.reason, message, outlook)
    return Finding(Type.VTHINGS_ATTACHED, Reason.ATTACHED)


def status(links: Sequence[Link]) -> dict[str, Any]:
    attached = sum(link.outlook is Outlook.GOOD for link in links)
    return {"vThings": [link.status() for link in links], "attached": f"{attached}/{len(links)}"}
