"""VThing: is the thing served? It follows from what its ThingVisor announces; there may be thousands, so this is lean.

Announced ones are made and removed by :mod:`.thingvisor`; one that a person wrote is only judged here. With
`spec.params` it asks the ThingVisor to make the thing (the pull case), and is confirmed by the revision of that wish.
"""

from typing import Any

from tephra.api.conditions import Reason, Type
from tephra.bus.messages import Announcement, ThingVisorReport
from tephra.formats.names import InvalidName, bus_identity, vthing_name
from tephra.plan import thingvisor_children
from tephra.plan.base import NOTHING, Key, Object, Plan, World
from tephra.plan.bus_state import no_bus, revision_of, settles_in
from tephra.plan.children import is_ours
from tephra.plan.conditions import Finding, judge, previous, stalled, working
from tephra.plan.pod_state import is_serving

_TEXT = 1024
"""Longest text that the status takes."""


def plan(desired: Object | None, key: Key, world: World) -> Plan:
    """Whether the thing is announced by a ThingVisor that runs."""
    if desired is None:
        return NOTHING
    visor, _, thing = desired["spec"]["id"].partition("/")
    owner = world.get("ThingVisor", key.namespace, visor)
    report = world.bus.thing_visors.get(bus_identity(key.namespace, visor)) if owner else None
    announced = report.by_thing.get(thing) if report else None
    if is_ours(desired) and announced is None and (owner is None or (report and not settles_in(report, world.now))):
        return NOTHING  # it is about to be deleted
    finding = (
        _misnamed(key, visor, thing)
        or _unheard(key, owner, visor, report, world)
        or _heard(desired, visor, report, announced, world.now)
    )
    findings = [finding] if owner is None else [finding, _served(owner, world)]
    verdict = judge(desired, findings, "the thing is served")
    return Plan(
        status={**_said(desired, announced), "conditions": verdict.conditions},
        events=verdict.events,
        requeue_after=None if announced else settles_in(report, world.now),
        settled=verdict.settled,
    )


def _misnamed(key: Key, visor: str, thing: str) -> Finding | None:
    try:
        right = vthing_name(visor, thing)
    except InvalidName as error:
        return stalled(Type.ANNOUNCED, Reason.NAME_MISMATCH, f"spec.id has no name: {error}")
    if key.name == right:
        return None
    message = f"the VThing of {visor}/{thing} has to be named {right}; delete this one and make it under that name"
    return stalled(Type.ANNOUNCED, Reason.NAME_MISMATCH, message)


def _unheard(
    key: Key, owner: Object | None, visor: str, report: ThingVisorReport | None, world: World
) -> Finding | None:
    """Why nothing is known of what the ThingVisor announces."""
    if owner is None:
        message = f"ThingVisor {key.namespace}/{visor} does not exist; make it, or delete this VThing"
        return stalled(Type.ANNOUNCED, Reason.THINGVISOR_NOT_FOUND, message)
    if not world.bus.connected:
        return no_bus(Type.ANNOUNCED)
    if report is None:
        message = f"ThingVisor {key.namespace}/{visor} has not reported yet; see its conditions"
        return working(Type.ANNOUNCED, Reason.THINGVISOR_NOT_READY, message)
    return None


def _heard(
    desired: Object, visor: str, report: ThingVisorReport | None, announced: Announcement | None, now: float
) -> Finding:
    """What the ThingVisor's report says of the thing."""
    params, id_ = desired["spec"].get("params"), desired["spec"]["id"]
    if announced is not None and (params is None or announced.revision == revision_of(params)):
        return Finding(Type.ANNOUNCED, Reason.ANNOUNCED)
    if params is not None:
        return _made(id_, visor, revision_of(params), report)
    if settles_in(report, now) is not None:
        return working(Type.ANNOUNCED, Reason.PROGRESSING, f"ThingVisor {visor} has just started and still announces")
    if desired.get("status", {}).get("announced") or previous(desired, Type.READY).get("reason") == Reason.WITHDRAWN:
        message = f"ThingVisor {visor} no longer serves {id_}; delete this VThing if it is not to come back"
        return stalled(Type.ANNOUNCED, Reason.WITHDRAWN, message)
    message = f"ThingVisor {visor} does not announce {id_}; correct spec.id, or set spec.params to have it made"
    return stalled(Type.ANNOUNCED, Reason.NOT_ANNOUNCED, message)


def _made(id_: str, visor: str, revision: str, report: ThingVisorReport | None) -> Finding:
    """How the ThingVisor fares with a thing that it was asked to make from params."""
    thing = id_.partition("/")[2]
    for failure in report.failures if report else ():
        if failure.thing == thing and failure.revision == revision:
            message = f"ThingVisor {visor} cannot make {id_}: {failure.message}"
            return stalled(Type.ANNOUNCED, Reason.MAKE_FAILED, message)
    message = f"ThingVisor {visor} has not yet made {id_} from spec.params"
    return working(Type.ANNOUNCED, Reason.WAITING_FOR_REPORT, message)


def _served(owner: Object, world: World) -> Finding:
    """A report outlives the pod that made it, so the pod counts too."""
    if is_serving(world, owner, thingvisor_children.name_of(owner)):
        return Finding(Type.READY, Reason.READY)
    message = f"the pod of ThingVisor {owner['metadata']['name']} is not ready; see its conditions"
    return working(Type.READY, Reason.THINGVISOR_NOT_READY, message)


def _said(desired: Object, announced: Announcement | None) -> dict[str, Any]:
    """What is announced of the thing, as status; without an announcement what was said last stays readable."""
    if announced is None:
        kept = desired.get("status") or {}
        names = ("type", "label", "description", "commands")
        return {"announced": False} | {name: kept[name] for name in names if kept.get(name)}
    said = {
        "type": announced.type[:_TEXT],
        "label": announced.label[:_TEXT],
        "description": announced.description[:_TEXT],
        "commands": sorted({command[:256] for command in announced.commands})[:64],
    }
    return {"announced": True} | {name: value for name, value in said.items() if value}
