"""Flavour: a broker that a vSilo can be made of (cluster-scoped, like a StorageClass; VirIoT D3.1 §4.3).

A flavour that speaks a protocol we know is this one object and nothing else. Neighbour: :mod:`tephra.plan.flavour`.
"""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tephra.api.base import (
    Cel,
    Column,
    JsonObject,
    KindInfo,
    ListMap,
    Model,
    NullsPruned,
    ParamsSchema,
    Resources,
    Status,
    Text,
    Whole,
)

Protocol = Literal["mqtt", "ngsiv2", "ngsi-ld", "onem2m"]
PortProtocol = Literal["mqtt", "mqtts", "ws", "wss", "http", "https"]
PortName = Annotated[str, Field(min_length=1, max_length=15, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[!-~]+$")]


class BrokerPort(Model):
    """One port that tenants may connect to."""

    name: Annotated[PortName, Field(description="Name of the port, unique in the flavour.")]
    port: Annotated[int, Field(ge=1, le=65535, description="Port of the broker's container."), Whole]
    protocol: Annotated[
        PortProtocol, Field(description="What is spoken there; the first port is the endpoint of status.")
    ]


class Probe(Model):
    """How the kubelet learns that the broker listens."""

    port: Annotated[
        int,
        Field(ge=1, le=65535, description="Port that accepts TCP connections when the broker is ready."),
        Whole,
    ]


class Broker(Model):
    """The broker's container.

    Files of `files` are at /etc/tephra/broker, credentials and certificates at /etc/tephra/secret.
    """

    image: Annotated[Image, Field(description="Image of the broker.")]
    command: Annotated[list[Text], Field(max_length=32, description="Replaces the image's entrypoint.")] = []
    args: Annotated[list[Text], Field(max_length=64, description="Arguments of the entrypoint.")] = []
    ports: Annotated[
        list[BrokerPort],
        ListMap(("name",)),
        Field(min_length=1, max_length=8, description="Ports offered to tenants."),
    ]
    files: Annotated[
        dict[str, Annotated[str, Field(max_length=65536)]],
        Field(max_length=16, description="Configuration files by name."),
        NullsPruned,
    ] = {}
    probe: Annotated[Probe | None, Field(description="Readiness; none means the first port.")] = None
    resources: Annotated[Resources, Field(description="Requests and limits of the broker's container.")] = Resources()

    CEL: ClassVar = (
        Cel(
            "!has(self.files) || self.files.all(name, name.matches('^[-._a-zA-Z0-9]{1,253}$'))",
            "the names in files are letters, digits, dots, dashes and underscores",
            holds=lambda broker: all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", name) for name in broker.files),
            at=".files",
        ),
    )


class Controller(Model):
    """The container beside the broker that attaches vThings and carries data and commands."""

    image: Annotated[Image, Field(description="Image of the vSilo controller.")]
    resources: Annotated[Resources, Field(description="Requests and limits of the controller's container.")] = (
        Resources()
    )


class FlavourSpec(Model):
    """A broker, the controller beside it, and the parameters a tenant may set."""

    description: Annotated[Text, Field(description="What the flavour is, for people.")] = ""
    protocol: Annotated[Protocol, Field(description="The controller's module that speaks to the broker.")]
    dialect: Annotated[
        str,
        Field(max_length=63, description="A variant of the protocol, where brokers differ (for example acme)."),
    ] = ""
    broker: Annotated[Broker, Field(description="The broker's container.")]
    controller: Annotated[Controller, Field(description="The controller's container.")]
    params: Annotated[ParamsSchema, Field(description="What a VSilo may set in spec.params.")] = ParamsSchema()


class FlavourStatus(Status):
    """Whether the flavour can be used."""

    example: Annotated[JsonObject, Field(description="spec.params.example completed with the schema's defaults.")] = {}


INFO = KindInfo(
    kind="Flavour",
    plural="flavours",
    short_names=("fl",),
    scope="Cluster",
    description="A broker that a vSilo can be made of.",
    columns=(
        Column("Protocol", ".spec.protocol"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Image", ".spec.broker.image", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
)
