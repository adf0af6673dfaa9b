"""VSilo: a tenant's own broker, serving the vThings it asks for (VirIoT D3.1 §4.3).

Neighbour: :mod:`tephra.plan.vsilo`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tephra.api.base import (
    Cel,
    Column,
    JsonObject,
    KindInfo,
    ListMap,
    Model,
    Placement,
    Status,
    Subdomain,
    Text,
    Whole,
    is_short_name,
)

ThingIdText = Annotated[
    str,
    Field(
        min_length=5,
        max_length=227,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?/[\s\S]+$",
    ),
]


class VThingRef(Model):
    """One vThing that the silo serves."""

    id: Annotated[ThingIdText, Field(description="namespace/thingVisor/thing.")]
    commands: Annotated[bool | None, Field(description="Send commands too; the ThingVisor's access must allow it.")] = (
        None
    )

    CEL: ClassVar = (
        Cel(
            "size(bytes(self.id)) - self.id.indexOf('/', self.id.indexOf('/') + 1) <= 113",
            "the thing in a vThing's id has at most 112 UTF-8 bytes",
            holds=lambda ref: len(ref.id.split("/", 2)[2].encode()) <= 112,
            at=".id",
        ),
    )


class Credentials(Model):
    """The tenant's credentials at its broker."""

    epoch: Annotated[
        int,
        Field(ge=0, le=1_000_000, description="Raise it to get new ones; the old ones stop working."),
        Whole,
    ] = 0

    CEL: ClassVar = (Cel("self.epoch >= oldSelf.epoch", "epoch can only be raised"),)


class VSiloSpec(Model):
    """Which broker, with which vThings, reachable how."""

    flavour: Annotated[Subdomain, Field(description="Name of the Flavour. It cannot be changed.")]
    params: Annotated[JsonObject, Field(description="Parameters, checked against the flavour's schema.")] = {}
    v_things: Annotated[
        list[VThingRef],
        ListMap(("id",)),
        Field(max_length=1000, description="The vThings to serve; edit the list to attach and detach."),
    ] = []
    exposure: Annotated[
        Literal["ClusterIP", "NodePort", "LoadBalancer"], Field(description="How the broker is reached.")
    ] = "ClusterIP"
    placement: Annotated[Placement, Field(description="Where its pod runs.")] = Placement()
    credentials: Annotated[Credentials, Field(description="The tenant's credentials at the broker.")] = Credentials()

    CEL: ClassVar = (Cel("self.flavour == oldSelf.flavour", "flavour cannot be changed; make another VSilo"),)


class Endpoint(Model):
    """Where the tenant connects."""

    protocol: Annotated[str, Field(max_length=15, description="mqtts, wss, https, …")]
    internal: Annotated[str, Field(max_length=512, description="URL inside the cluster.")] = ""
    external: Annotated[str, Field(max_length=512, description="URL outside the cluster, if exposed.")] = ""
    secret_name: Annotated[
        str, Field(max_length=253, description="Secret of this namespace with user, password and ca.crt.")
    ] = ""


class VThingState(Model):
    """State of one vThing of the spec."""

    id: Annotated[str, Field(max_length=227, description="As in the spec.")]
    state: Annotated[
        Literal["Attached", "Pending", "NotFound", "Denied", "Failed"],
        Field(description="Attached: data flow. Denied: the ThingVisor's access does not allow it."),
    ]
    message: Annotated[Text, Field(description="Why it is not attached, and the next step.")] = ""


class VSiloStatus(Status):
    """Where to connect and what is attached."""

    endpoint: Annotated[Endpoint | None, Field(description="The flavour's first port.")] = None
    endpoints: Annotated[list[Endpoint], Field(max_length=8, description="Every port of the flavour.")] = []
    v_things: Annotated[
        list[VThingState],
        ListMap(("id",)),
        Field(max_length=1000, description="State of every vThing of the spec."),
    ] = []
    attached: Annotated[
        str, Field(max_length=16, description="How many are attached of how many, for example 2/3.")
    ] = ""
    credentials_epoch: Annotated[int, Field(description="The epoch of the credentials in force.")] = 0


INFO = KindInfo(
    kind="VSilo",
    plural="vsilos",
    short_names=("vs",),
    scope="Namespaced",
    description="A tenant's own broker, serving the vThings it asks for.",
    columns=(
        Column("Flavour", ".spec.flavour"),
        Column("vThings", ".status.attached"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Endpoint", ".status.endpoint.external", priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Cel(
            "size(self.metadata.name) <= 50 && !self.metadata.name.contains('.')",
            "the name of a VSilo is at most 50 characters without dots: its Service and bus topics are named after it",
            holds=lambda manifest: is_short_name(manifest["metadata"]["name"]),
            at=".metadata.name",
        ),
    ),
    selectable=(".spec.flavour",),
)
