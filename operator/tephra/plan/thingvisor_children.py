"""What a ThingVisor is made of: its pod, the pod's way to the bus, what it may call, its entries in the catalogue.

:mod:`.thingvisor` decides; here is only rendering.
"""

import re
from collections.abc import Iterator

from tephra.api import API_VERSION, labels
from tephra.api.thingvisor import ThingVisorSpec
from tephra.api.thingvisortype import ThingVisorTypeSpec
from tephra.bus.messages import Announcement
from tephra.formats.names import vthing_name
from tephra.plan import children, pods
from tephra.plan.base import Object, World
from tephra.plan.children import Manifest, identity_of, password_of
from tephra.plan.network import network_policy

HEALTH_PORT = 8080
BUS_DIR, SECRET_DIR = "/etc/tephra/bus", "/etc/tephra/source"
CONTAINER = "thingvisor"
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def name_of(owner: Object) -> str:
    return f"tv-{owner['metadata']['name']}"


def user_of(identity: str) -> str:
    """Its MQTT user name."""
    return f"tv.{identity}"


def supporting(owner: Object, kind: ThingVisorTypeSpec, world: World) -> Iterator[Manifest]:
    """What the pod needs to start and to be reached."""
    name = name_of(owner)
    yield children.bus_secret(
        f"{name}-bus",
        owner,
        url=world.settings.bus_url,
        username=user_of(identity_of(owner)),
        password=password_of(owner, world),
        ca=world.keys.bus_ca,
    )
    ports = {port.name: port.port for port in kind.ports}
    yield network_policy(name, owner, ingress=ports.values(), egress=kind.egress, settings=world.settings)
    if ports:
        yield children.service(name, owner, ports)


def deployment(owner: Object, spec: ThingVisorSpec, kind: ThingVisorTypeSpec) -> Manifest:
    """The ThingVisor's pod. Params are not in it: they arrive over the bus, without a restart."""
    environment = {
        "TEPHRA_BUS_DIR": BUS_DIR,
        "TEPHRA_IDENTITY": identity_of(owner),
        "TEPHRA_HEALTH_PORT": str(HEALTH_PORT),
    }
    mounts = {"bus": BUS_DIR, pods.SCRATCH: "/tmp"}
    volumes = [pods.secret_volume("bus", f"{name_of(owner)}-bus"), pods.scratch_volume()]
    if spec.secret_ref:
        environment["TEPHRA_SECRET_DIR"] = SECRET_DIR
        mounts["source"] = SECRET_DIR
        volumes.append(pods.secret_volume("source", spec.secret_ref.name, optional=True))
    main = pods.container(
        CONTAINER,
        kind.image,
        environment=environment,
        mounts=mounts,
        resources=kind.resources,
        command=kind.command,
        args=kind.args,
        ports=[{"name": port.name, "containerPort": port.port, "protocol": "TCP"} for port in kind.ports],
        **pods.health_probes(HEALTH_PORT),
    )
    return pods.deployment(name_of(owner), owner, containers=[main], volumes=volumes, placement=spec.placement)


def vthing(owner: Object, spec: ThingVisorSpec, thing: Announcement) -> Manifest:
    """The catalogue's entry of an announced thing; what is announced about it goes to its status."""
    name = owner["metadata"]["name"]
    marks = {
        labels.MANAGED_BY: labels.TEPHRA,
        labels.OWNER_UID: owner["metadata"]["uid"],
        labels.OWNER_NAME: f"thingvisor.{name}",
        labels.THING_VISOR: name,
        labels.THING_TYPE: label_value(thing.type),
        labels.SITE: spec.placement.site or "",
    }
    meta = {
        "name": vthing_name(name, thing.thing),
        "namespace": owner["metadata"]["namespace"],
        "labels": {key: value for key, value in marks.items() if value},
        "ownerReferences": [children.owner_reference(owner)],
    }
    return {"apiVersion": API_VERSION, "kind": "VThing", "metadata": meta, "spec": {"id": f"{name}/{thing.thing}"}}


def label_value(text: str) -> str:
    """A type as a label: itself, or the last part of a URI, if that is a label's value; else nothing."""
    last = re.split(r"[/#]", text)[-1]
    return last if _LABEL_VALUE.fullmatch(last) else ""
