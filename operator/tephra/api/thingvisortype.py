"""ThingVisorType: a program that turns one kind of IoT source into vThings (cluster-scoped; VirIoT D3.1 §4.2).

Written once per folder in ``thingvisors/``; users make ThingVisors of it. Neighbour: :mod:`tephra.plan.thingvisortype`.
"""

from ipaddress import IPv6Interface, ip_interface
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tephra.api.base import Cel, Column, KindInfo, ListMap, Model, ParamsSchema, Resources, Status, Text, Whole
from tephra.api.flavour import Image, PortName


class SecretKey(Model):
    """One key of the Secret that `spec.secretRef` of a ThingVisor names."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$", description="Key in the Secret."),
    ]
    description: Annotated[Text, Field(description="What the key holds.")] = ""
    required: Annotated[bool | None, Field(description="The ThingVisor cannot work without it.")] = None


class TypePort(Model):
    """A port on which the ThingVisor is called by its source."""

    name: Annotated[PortName, Field(description="Name of the port.")]
    port: Annotated[int, Field(ge=1, le=65535, description="Port of the container."), Whole]


def is_cidr(text: str) -> bool:
    """Whether CEL's ``isCIDR`` takes it: host bits may be set, IPv4 inside IPv6 may not be used."""
    try:
        network = ip_interface(text)
    except ValueError:
        return False
    mapped = isinstance(network, IPv6Interface) and network.ip.ipv4_mapped is not None
    return "/" in text and not mapped


class Egress(Model):
    """Traffic that the ThingVisor's pods may send, beyond the bus and DNS."""

    cidr: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$",
            description="Addresses, for example 0.0.0.0/0.",
        ),
    ]
    ports: Annotated[
        list[Annotated[int, Field(ge=1, le=65535), Whole]],
        Field(max_length=16, description="TCP ports; none means all."),
    ] = []
    protocol: Annotated[Literal["TCP", "UDP"] | None, Field(description="Transport; TCP if not given.")] = None

    CEL: ClassVar = (
        Cel(
            "isCIDR(self.cidr)",
            "cidr must be an address range such as 10.0.0.0/8 or 2001:db8::/32",
            holds=lambda egress: is_cidr(egress.cidr),
            at=".cidr",
        ),
    )


class ThingVisorTypeSpec(Model):
    """How to run the program and what it may be told."""

    description: Annotated[Text, Field(description="What the ThingVisor connects to, for people.")] = ""
    image: Annotated[Image, Field(description="Image of the ThingVisor.")]
    command: Annotated[list[Text], Field(max_length=32, description="Replaces the image's entrypoint.")] = []
    args: Annotated[list[Text], Field(max_length=64, description="Arguments of the entrypoint.")] = []
    params: Annotated[ParamsSchema, Field(description="What a ThingVisor may set in spec.params.")] = ParamsSchema()
    secret_keys: Annotated[
        list[SecretKey],
        ListMap(("name",)),
        Field(max_length=16, description="Keys expected in spec.secretRef."),
    ] = []
    ports: Annotated[
        list[TypePort],
        ListMap(("name",)),
        Field(max_length=8, description="Ports on which the source calls it."),
    ] = []
    egress: Annotated[list[Egress], Field(max_length=32, description="Where its pods may connect to.")] = []
    resources: Annotated[Resources, Field(description="Requests and limits of the container.")] = Resources()


class ThingVisorTypeStatus(Status):
    """Whether the type can be used."""


INFO = KindInfo(
    kind="ThingVisorType",
    plural="thingvisortypes",
    short_names=("tvt",),
    scope="Cluster",
    description="A program that turns one kind of IoT source into vThings.",
    columns=(
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Image", ".spec.image", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
