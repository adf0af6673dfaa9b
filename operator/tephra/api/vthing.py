"""VThing: one virtual thing in the catalogue, beside its ThingVisor (VirIoT D3.1 §4.1).

Announced by the ThingVisor, or written by hand: adopted when announced, or made by the ThingVisor from
``spec.params``. Neighbour: :mod:`tephra.plan.vthing`.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from tephra.api.base import Cel, Column, JsonObject, KindInfo, ListSet, Model, Status, Text


class VThingSpec(Model):
    """Which thing of which ThingVisor."""

    id: Annotated[
        str,
        Field(
            min_length=3,
            max_length=163,
            pattern=r"^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?/[\s\S]+$",
            description="thingVisor/thing; the thing is spelled as the ThingVisor announces it. It cannot be changed.",
        ),
    ]
    type: Annotated[Text, Field(description="Type of the thing, for people and for search.")] = ""
    label: Annotated[Text, Field(description="A short name for people.")] = ""
    description: Annotated[Text, Field(description="What the thing is, for people.")] = ""
    params: Annotated[
        JsonObject | None,
        Field(
            description="Asks the ThingVisor to make the thing from these (the pull case, for example a camera's URL)."
        ),
    ] = None

    CEL: ClassVar = (
        Cel("self.id == oldSelf.id", "id cannot be changed; make another VThing"),
        Cel(
            "size(bytes(self.id)) - self.id.indexOf('/') <= 113",
            "the thing in spec.id has at most 112 UTF-8 bytes",
            holds=lambda spec: len(spec.id.partition("/")[2].encode()) <= 112,
            at=".id",
        ),
    )


class VThingStatus(Status):
    """What the ThingVisor says of the thing."""

    announced: Annotated[bool, Field(description="The ThingVisor serves the thing now.")] = False
    type: Annotated[Text, Field(description="Type as announced.")] = ""
    label: Annotated[Text, Field(description="Label as announced.")] = ""
    description: Annotated[Text, Field(description="Description as announced.")] = ""
    commands: Annotated[
        list[Annotated[str, Field(max_length=256)]],
        ListSet(),
        Field(max_length=64, description="Names of the commands that its entities take."),
    ] = []


INFO = KindInfo(
    kind="VThing",
    plural="vthings",
    short_names=("vt",),
    scope="Namespaced",
    description="One virtual thing in the catalogue.",
    columns=(
        Column("ID", ".spec.id"),
        Column("Type", ".status.type"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
        Column("Commands", ".status.commands", priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Cel(
            "self.metadata.name.startsWith(self.spec.id.substring(0, self.spec.id.indexOf('/')) + '.')",
            "the name of a VThing is <thingVisor>.<thing> of its spec.id, encoded (kubectl tephra name ID prints it)",
            holds=lambda manifest: manifest["metadata"]["name"].startswith(
                manifest["spec"]["id"].partition("/")[0] + "."
            ),
            at=".metadata.name",
        ),
    ),
    selectable=(".spec.id",),
)
