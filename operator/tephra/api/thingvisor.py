"""ThingVisor: a running source of vThings (VirIoT D3.1 §4.2).

``spec.access`` follows Gateway API's ``allowedRoutes.namespaces``: the owner of the source says who may read its
vThings and who may command them. Neighbour: :mod:`tephra.plan.thingvisor`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tephra.api.base import (
    Cel,
    Column,
    JsonObject,
    KindInfo,
    LocalSecretRef,
    Model,
    NullsPruned,
    Placement,
    Status,
    Subdomain,
    Text,
    is_short_name,
)

LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]


class LabelSelector(Model):
    """Labels that a namespace must carry."""

    match_labels: Annotated[
        dict[str, LabelValue],
        Field(min_length=1, max_length=16, description="Every one of these labels must be there."),
        NullsPruned,
    ]


class AccessRule(Model):
    """Which namespaces are allowed."""

    from_: Annotated[
        Literal["All", "Same", "Selector"],
        Field(
            alias="from",
            description="All namespaces, the ThingVisor's own, or those that the selector matches.",
        ),
    ]
    selector: Annotated[LabelSelector | None, Field(description="Needed with from: Selector, refused otherwise.")] = (
        None
    )

    CEL: ClassVar = (
        Cel(
            "(self.from == 'Selector') == has(self.selector)",
            "selector is needed with from: Selector and refused otherwise",
            holds=lambda rule: (rule.from_ == "Selector") == (rule.selector is not None),
        ),
    )


class ThingVisorAccess(Model):
    """Who may read the vThings and who may command them."""

    read: Annotated[AccessRule, Field(description="Who may attach the vThings to a vSilo.")] = (
        AccessRule.model_validate({"from": "All"})
    )
    command: Annotated[AccessRule, Field(description="Who may send commands.")] = AccessRule.model_validate(
        {"from": "Same"}
    )


class ThingVisorSpec(Model):
    """Which source, with which parameters, where, and for whom."""

    type: Annotated[Subdomain, Field(description="Name of the ThingVisorType. It cannot be changed.")]
    params: Annotated[JsonObject, Field(description="Parameters, checked against the type's schema.")] = {}
    secret_ref: Annotated[LocalSecretRef | None, Field(description="Secret with the keys that the type asks for.")] = (
        None
    )
    placement: Annotated[Placement, Field(description="Where its pod runs.")] = Placement()
    access: Annotated[ThingVisorAccess, Field(description="Who may read and command its vThings.")] = ThingVisorAccess()

    CEL: ClassVar = (Cel("self.type == oldSelf.type", "type cannot be changed; make another ThingVisor"),)


class ThingVisorStatus(Status):
    """What the ThingVisor serves."""

    v_things: Annotated[int, Field(ge=0, description="Number of vThings announced.")] = 0
    health: Annotated[Text, Field(description="What the ThingVisor says of its source.")] = ""


INFO = KindInfo(
    kind="ThingVisor",
    plural="thingvisors",
    short_names=("tv",),
    scope="Namespaced",
    description="A running source of vThings.",
    columns=(
        Column("Type", ".spec.type"),
        Column("vThings", ".status.vThings", "integer"),
        Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Site", ".spec.placement.site", priority=1),
        Column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
        Column("Age", ".metadata.creationTimestamp", "date"),
    ),
    rules=(
        Cel(
            "size(self.metadata.name) <= 50 && !self.metadata.name.contains('.')",
            "the name of a ThingVisor has at most 50 characters and no dots: pods and topics are named after it",
            holds=lambda manifest: is_short_name(manifest["metadata"]["name"]),
            at=".metadata.name",
        ),
    ),
    selectable=(".spec.type",),
)
