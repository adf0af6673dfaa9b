"""What every kind shares: the strict model base, conditions, and the markers that become schema.

A model's JSON names are camelCase. Models take and refuse what the API server takes and refuses under strict field
validation: unknown fields are errors, nothing is coerced, an explicit null counts as absent (the API server prunes
it). A CEL rule stands beside its Python twin, a list type beside its check, so that one place says both; a property
test holds the two to the same answers. Neighbours: :mod:`.crd` writes the schema, :mod:`.validate` judges manifests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

JsonSchema = dict[str, Any]


@dataclass(frozen=True)
class Cel:
    """One ``x-kubernetes-validations`` rule over a model (``CEL``) or a whole object (``KindInfo.rules``).

    ``holds`` judges the same in Python: of a model for the former, of the manifest (a dict) for the latter. Only a
    transition rule (``oldSelf``) has none.
    """

    rule: str
    message: str
    holds: Callable[[Any], bool] | None = None
    at: str = ""
    """Path of the field to blame, relative to the model: ``.metadata.name``."""

    def schema(self) -> JsonSchema:
        return {"rule": self.rule, "message": self.message} | ({"fieldPath": self.at} if self.at else {})


def _refuse_repeats(keys: list[Any], what: str) -> None:
    seen: list[Any] = []
    for key in keys:
        if key in seen:
            raise ValueError(f"{what} {key!r} is there twice")
        seen.append(key)


@dataclass(frozen=True)
class ListMap:
    """The list is a map keyed by these item fields (``x-kubernetes-list-type: map``)."""

    keys: tuple[str, ...]

    def _check(self, items: list[Any]) -> list[Any]:
        _refuse_repeats([tuple(getattr(item, key) for key in self.keys) for item in items], ", ".join(self.keys))
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        markers = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(self.keys)}
        return {**handler(schema), **markers}


@dataclass(frozen=True)
class ListSet:
    """The list is a set (``x-kubernetes-list-type: set``)."""

    @staticmethod
    def _check(items: list[Any]) -> list[Any]:
        _refuse_repeats(items, "item")
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return {**handler(schema), "x-kubernetes-list-type": "set"}


@dataclass(frozen=True)
class FreeForm:
    """A documented hole: any JSON object is kept (``x-kubernetes-preserve-unknown-fields``)."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchema:
        return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@dataclass(frozen=True)
class Column:
    """One printer column; priority 1 shows only with ``-o wide``."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
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
    selectable: tuple[str, ...] = ()
    """JSON paths of required string fields that ``kubectl get --field-selector`` takes."""


def is_short_name(name: str) -> bool:
    """Whether pods, Services and topics can be named after an object of this name with our prefixes."""
    return len(name) <= 50 and "." not in name


class Model(BaseModel):
    """Base of every part of a custom resource."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True, frozen=True)
    CEL: ClassVar[tuple[Cel, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in data.items() if value is not None or key not in known}

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        for rule in self.CEL:
            if rule.holds and not rule.holds(self):
                raise ValueError(rule.message)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchema:
        schema = handler.resolve_ref_schema(handler(core))
        if cls.CEL:
            schema["x-kubernetes-validations"] = [rule.schema() for rule in cls.CEL]
        return schema


def _without_nulls(value: Any) -> Any:
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


def _whole_number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole_number)
"""For integers, after Field: the API server does not tell 1.0 from 1."""
NullsPruned = BeforeValidator(_without_nulls)
"""For maps, after Field: a key with a null value counts as absent, as a field does."""
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
        str,
        Field(max_length=64, description="When the status last changed.", json_schema_extra={"format": "date-time"}),
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


Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
"""An amount of a resource, such as 50m or 128Mi."""


class Resources(Model):
    """Requests and limits of a container, as in a pod."""

    requests: Annotated[
        dict[str, Quantity], Field(max_length=8, description="Guaranteed amounts, for example cpu: 50m."), NullsPruned
    ] = {}
    limits: Annotated[
        dict[str, Quantity], Field(max_length=8, description="Upper bounds, for example memory: 128Mi."), NullsPruned
    ] = {}
