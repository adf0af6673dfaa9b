"""VSilo: a tenant's broker, the controller beside it, and the vThings that the tenant is granted.

Access is always put in force, even when nothing else can be: a vThing that is withdrawn leaves the role whatever
else is wrong with the silo. Neighbours: :mod:`.attachments` judges the vThings, :mod:`.silo_children` renders,
:mod:`.endpoints` tells where to connect; the controller (:mod:`tephra.silos`) is at the other end of the bus.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tephra.api.conditions import Reason, Type
from tephra.api.flavour import FlavourSpec
from tephra.api.vsilo import VSiloSpec
from tephra.bus import roles, topics
from tephra.bus.messages import SiloDesired, SiloReport
from tephra.formats.names import bus_identity
from tephra.plan import attachments, endpoints, params, pod_state
from tephra.plan import silo_children as made
from tephra.plan.attachments import Link
from tephra.plan.base import Action, Apply, BusAccess, BusPublish, Key, Object, Plan, ServerCertificate, World
from tephra.plan.bus_state import forget, no_bus, revision_of
from tephra.plan.children import Manifest, identity_of, password_of
from tephra.plan.conditions import SETTLING, Finding, Outlook, judge, stalled, tenancy, working


@dataclass(frozen=True, slots=True)
class _Blueprint:
    """What to run and which params to tell it; None where the last of the findings says why."""

    findings: tuple[Finding, ...]
    flavour: FlavourSpec | None = None
    params: dict[str, Any] | None = None


def plan(desired: Object | None, key: Key, world: World) -> Plan:
    """What a vSilo needs, and how it fares."""
    identity = bus_identity(key.namespace, key.name)
    if desired is None:
        gone = (topics.silo_in(identity), topics.silo_out(identity))
        return Plan(forget(made.user_of(identity), gone, f"vSilo/{identity}/", world))
    spec = VSiloSpec.model_validate(desired["spec"])
    report = world.bus.silos.get(identity)
    blueprint = _blueprint(spec, world)
    links = attachments.resolve(spec.v_things, desired, report, world)
    told = _told(desired, blueprint, links)
    cert = _certificate(desired, spec, blueprint, world)
    deployment = made.deployment(desired, spec, blueprint.flavour) if blueprint.flavour else None
    attached = _attached(desired, links, told, report, world.now)
    findings = (*blueprint.findings, *_running(desired, spec, blueprint.flavour, deployment, report, world), attached)
    verdict = judge(desired, findings, f"the broker runs, vThings attached: {len(links)}", [tenancy(world)])
    return Plan(
        actions=(
            *_on_bus(desired, links, told, world),
            *_in_cluster(desired, spec, blueprint, cert, deployment, world),
        ),
        status={
            "conditions": verdict.conditions,
            "credentialsEpoch": report.credentials_epoch if report else 0,
            **attachments.status(links),
            **_endpoints(desired, spec, blueprint, world),
        },
        events=verdict.events,
        requeue_after=_next_look(desired, links, cert, world.now),
        settled=verdict.settled,
    )


def _blueprint(spec: VSiloSpec, world: World) -> _Blueprint:
    item = world.get("Flavour", "", spec.flavour)
    if item is None:
        message = f"Flavour {spec.flavour} does not exist; kubectl get flavours lists what there is"
        return _Blueprint((stalled(Type.FLAVOUR_RESOLVED, Reason.FLAVOUR_NOT_FOUND, message),))
    flavour, resolved = FlavourSpec.model_validate(item["spec"]), Finding(Type.FLAVOUR_RESOLVED, Reason.RESOLVED)
    try:
        completed = params.complete(flavour.params.schema_, spec.params)
    except params.SchemaInvalid as error:
        message = f"Flavour {spec.flavour}: {error}; its author has to mend the schema"
        return _Blueprint((stalled(Type.FLAVOUR_RESOLVED, Reason.SCHEMA_INVALID, message),))
    except params.ParamsInvalid as error:
        message = f"{error} (schema of Flavour {spec.flavour}); what was valid before stays in force"
        return _Blueprint((resolved, stalled(Type.PARAMS_VALID, Reason.PARAMS_INVALID, message)), flavour)
    return _Blueprint((resolved, Finding(Type.PARAMS_VALID, Reason.VALID)), flavour, completed)


def _told(desired: Object, blueprint: _Blueprint, links: Sequence[Link]) -> SiloDesired | None:
    if blueprint.params is None:
        return None
    granted = tuple(link.granted for link in links if link.granted)
    content = {"params": blueprint.params, "vThings": [thing.model_dump() for thing in granted]}
    return SiloDesired(
        generation=desired["metadata"]["generation"],
        revision=revision_of(content),
        params=blueprint.params,
        v_things=granted,
    )


# --- what to do -------------------------------------------------------------------------------------------------


def _on_bus(desired: Object, links: Sequence[Link], told: SiloDesired | None, world: World) -> Iterator[Action]:
    """The role first: what is withdrawn cannot be read any more, what is granted can be subscribed to at once."""
    if not world.bus.connected:
        return
    identity = identity_of(desired)
    role = roles.silo_role(identity, (link.granted for link in links if link.granted))
    yield BusAccess(made.user_of(identity), password_of(desired, world), role)
    if told:
        yield BusPublish(topics.silo_in(identity), told.encode())


def _certificate(desired: Object, spec: VSiloSpec, blueprint: _Blueprint, world: World) -> ServerCertificate | None:
    if blueprint.flavour is None:
        return None
    service = endpoints.live_service(desired, world)
    return made.certificate(desired, endpoints.external_hosts(spec, service, world), world)


def _in_cluster(
    desired: Object,
    spec: VSiloSpec,
    blueprint: _Blueprint,
    cert: ServerCertificate | None,
    deployment: Manifest | None,
    world: World,
) -> Iterator[Action]:
    if blueprint.flavour is None or cert is None or deployment is None:
        return
    for manifest in made.secrets(desired, spec.credentials.epoch, cert, world):
        yield Apply(manifest)
    yield Apply(made.files(desired, blueprint.flavour))
    yield Apply(made.service(desired, spec, blueprint.flavour))
    yield Apply(made.policy(desired, blueprint.flavour, world))
    yield Apply(deployment)


# --- how it fares -----------------------------------------------------------------------------------------------


def _running(
    desired: Object,
    spec: VSiloSpec,
    flavour: FlavourSpec | None,
    deployment: Manifest | None,
    report: SiloReport | None,
    world: World,
) -> Iterator[Finding]:
    pod = pod_state.observe(world, desired, made.name_of(desired), deployment)
    yield pod.placed()
    yield pod.container(made.BROKER, Type.BROKER_READY)
    controller = pod.container(made.CONTROLLER, Type.CONTROLLER_READY)
    yield controller if controller.outlook is not Outlook.GOOD else _controller(spec, report, world)
    if flavour:
        yield endpoints.finding(desired, spec, flavour, world)


def _controller(spec: VSiloSpec, report: SiloReport | None, world: World) -> Finding:
    """What the controller says of itself."""
    if not world.bus.connected:
        return no_bus(Type.CONTROLLER_READY)
    if report is None:
        message = "the controller has not reported yet"
        return working(Type.CONTROLLER_READY, Reason.WAITING_FOR_REPORT, message)
    if not report.broker_ready:
        message = f"the controller has no connection to the broker beside it: {report.broker_message or 'not yet'}"
        return working(Type.CONTROLLER_READY, Reason.PROGRESSING, message)
    if report.credentials_epoch != spec.credentials.epoch:
        message = f"credentials of epoch {spec.credentials.epoch} are on their way to the pod, which takes up to 2 min"
        return working(Type.CONTROLLER_READY, Reason.PROGRESSING, message)
    return Finding(Type.CONTROLLER_READY, Reason.CONNECTED)


def _attached(
    desired: Object, links: Sequence[Link], told: SiloDesired | None, report: SiloReport | None, now: float
) -> Finding:
    """Whether the silo serves what it was told, and whether that is all that the spec asks for."""
    if told and report and (report.observed_generation, report.revision) != (told.generation, told.revision):
        message = "the controller has not yet confirmed the list of vThings"
        return working(Type.VTHINGS_ATTACHED, Reason.WAITING_FOR_REPORT, message)
    found = attachments.finding(links)
    if found.reason is Reason.VTHING_NOT_FOUND and _young_for(desired, now):
        return working(found.type, found.reason, found.message)  # applied together with its ThingVisor, perhaps
    return found


def _endpoints(desired: Object, spec: VSiloSpec, blueprint: _Blueprint, world: World) -> dict[str, Any]:
    """The endpoints; those of the last status while the flavour cannot be resolved."""
    if blueprint.flavour:
        return endpoints.status(desired, spec, blueprint.flavour, world)
    kept = desired.get("status") or {}
    return {name: kept[name] for name in ("endpoint", "endpoints") if name in kept}


def _young_for(desired: Object, now: float) -> float | None:
    """Seconds for which a new vSilo's missing vThings may still be on their way."""
    created = datetime.fromisoformat(desired["metadata"]["creationTimestamp"]).timestamp()
    left = created + SETTLING - now
    return min(left, SETTLING) if left > 0 else None


def _next_look(desired: Object, links: Sequence[Link], cert: ServerCertificate | None, now: float) -> float | None:
    """Seconds to what no event will announce: an absence becomes meant, or the certificate is to be renewed."""
    looks = [link.settles for link in links if link.settles is not None]
    if any(link.reason is Reason.VTHING_NOT_FOUND for link in links) and (young := _young_for(desired, now)):
        looks.append(young)
    if cert is not None:
        looks.append(max(cert.renew_at - now, 1.0))
    return min(looks, default=None)
