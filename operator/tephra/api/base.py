"""What every kind shares: the strict model base, conditions, and the markers that :mod:`.crd` turns into schema.

A model's JSON names are camelCase. Unknown fields are refused, as the API server refuses them under strict field
validation. ``Cel`` rules and list types have no pydantic twin, so each CEL rule that guards one object also stands as
a validator of the model (a property test holds both to the same answers); transition rules (``oldSelf``) do not.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


@dataclass(frozen=True)
class Cel:
    """One ``x-kubernetes-validations`` rule; attach to a model (``CEL``) or a field (``Annotated``)."""

    rule: str
    message: str
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"] = "FieldValueInvalid"


@dataclass(frozen=True)
class ListMap:
    """The list is a map keyed by these item fields (``x-kubernetes-list-type: map``)."""

    keys: tuple[str, ...]


@dataclass(frozen=True)
class ListSet:
    """The list is a set (``x-kubernetes-list-type: set``)."""


@dataclass(frozen=True)
class FreeForm:
    """A documented hole: any JSON object is kept (``x-kubernetes-preserve-unknown-fields``)."""


@dataclass(frozen=True)
class Column:
    """One printer column; priority 1 shows only with ``-o wide``."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    description: str = ""
    priority: Literal[0, 1] = 0


@dataclass(frozen=True)
class KindInfo:
    """Names, scope and printer columns of one custom resource."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    scope: Literal["Namespaced", "Cluster"]
    description: str
    columns: tuple[Column, ...]
    rules: tuple[Cel, ...] = ()
    """CEL rules over the whole object (``self.metadata.name`` and ``self.spec``)."""


class Model(BaseModel):
    """Base of every part of a custom resource."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True)
    CEL: ClassVar[tuple[Cel, ...]] = ()


JsonObject = Annotated[dict[str, Any], FreeForm()]
Label = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""An RFC 1123 label."""
Subdomain = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    ),
]
"""An RFC 1123 subdomain."""
Text = Annotated[str, Field(max_length=1024)]
"""A sentence for people."""


class Condition(Model):
    """One aspect of an object's state, as Kubernetes' own ``metav1.Condition``."""

    type: Annotated[str, Field(max_length=316, description="What is judged, for example Ready.")]
    status: Annotated[Literal["True", "False", "Unknown"], Field(description="The judgement.")]
    observed_generation: Annotated[int, Field(description="The generation of the spec that was judged.")] = 0
    last_transition_time: Annotated[
        str, Field(description="When the status last changed.", json_schema_extra={"format": "date-time"})
    ]
    reason: Annotated[
        str,
        Field(min_length=1, max_length=1024, description="Why, as one CamelCase word (see docs/reference)."),
    ]
    message: Annotated[str, Field(max_length=32768, description="Why, as a sentence with the next step.")] = ""


class Status(Model):
    """What every kind reports. The CRD defaults it to ``{observedGeneration: -1}``: not yet reconciled."""

    observed_generation: Annotated[
        int, Field(description="The generation whose work is done; -1 until the first is.")
    ] = -1
    conditions: Annotated[
        list[Condition],
        ListMap(("type",)),
        Field(max_length=24, description="The object's state, aspect by aspect."),
    ] = []


class LocalSecretRef(Model):
    """A Secret in the same namespace."""

    name: Annotated[Subdomain, Field(description="Name of the Secret.")]


class Placement(Model):
    """Where the pods run."""

    site: Annotated[Label | None, Field(description="Only nodes labelled tephra.dev/site with this value.")] = None
    compute_class: Annotated[
        Subdomain | None,
        Field(description="The RuntimeClass that runs the pods; `container` or nothing is the cluster's default."),
    ] = None


class ParamsSchema(Model):
    """The JSON Schema (draft 2020-12) that user parameters are checked against, and an example that passes it."""

    schema_: Annotated[
        JsonObject,
        Field(alias="schema", description="A JSON Schema of type object; `default` values are filled in."),
    ] = {}
    example: Annotated[JsonObject, Field(description="Parameters that satisfy the schema.")] = {}


class Resources(Model):
    """Requests and limits of a container, as in a pod."""

    requests: Annotated[
        dict[str, str], Field(max_length=8, description="Guaranteed amounts, for example cpu: 50m.")
    ] = {}
    limits: Annotated[dict[str, str], Field(max_length=8, description="Upper bounds, for example memory: 128Mi.")] = {}
