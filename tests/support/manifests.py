"""Hypothesis strategies for manifests of our kinds: valid by their CRD's schema, and valid ones bent in one place.

They read ``crds/*.yaml``, so a new field is covered as soon as it exists. Users: ``tests/properties``.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from tephra.api import API_VERSION
from tephra.api.crd import root_schema
from tephra.api.kinds import KINDS
from tephra.formats.names import MAX_THING_BYTES, vthing_name

Schema = Mapping[str, Any]
UNICODE = st.characters(codec="utf-8")
LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(UNICODE, max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(UNICODE, max_size=8), inner, max_size=3),
    max_leaves=6,
)


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that satisfy a structural schema (not its CEL rules)."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _BY_TYPE[schema["type"]](schema)


def _string(schema: Schema) -> st.SearchStrategy[str]:
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if pattern := schema.get("pattern"):
        matching = st.from_regex(pattern, fullmatch=True, alphabet=UNICODE)
        return matching.filter(lambda text: low <= len(text) <= high)
    return st.text(UNICODE, min_size=low, max_size=min(high, 12)) | st.just("é" * high)


def _integer(schema: Schema) -> st.SearchStrategy[int]:
    return st.integers(schema["minimum"], schema["maximum"])


def _array(schema: Schema) -> st.SearchStrategy[list[Any]]:
    keys = schema.get("x-kubernetes-list-map-keys")
    unique = (lambda item: tuple(item[key] for key in keys)) if keys else None
    return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=3, unique_by=unique)


def _object(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return st.dictionaries(st.text(UNICODE, max_size=8), JSON, max_size=3)
    if "additionalProperties" in schema:
        inner = values(schema["additionalProperties"])
        keys = st.from_regex(r"[-._a-zA-Z0-9]{1,12}", fullmatch=True)
        return st.dictionaries(keys, inner, min_size=schema.get("minProperties", 0), max_size=3)
    fields = {name: values(field) for name, field in schema["properties"].items()}
    required = schema.get("required", ())
    return st.fixed_dictionaries(
        {name: fields[name] for name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


_BY_TYPE: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "string": _string,
    "integer": _integer,
    "boolean": lambda _: st.booleans(),
    "array": _array,
    "object": _object,
}


def candidates(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """Manifests of ``kind`` that satisfy its schema; most satisfy its rules too."""
    spec = values(root_schema(KINDS[kind])["properties"]["spec"])
    return st.builds(_manifest, st.just(kind), LABELS, spec)


def _manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    if kind == "VThing":
        owner, _, thing = spec["id"].partition("/")
        fits = len(thing.encode()) <= MAX_THING_BYTES
        name = vthing_name(owner, thing) if fits else f"{owner}.{name}"
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


JUNK: tuple[Any, ...] = (
    *(None, True, 0, 1.0, 1.5, -1, 65536, "", "1", "a\n", "A b", "é" * 57, "x" * 51, "x" * 300, "a.b"),
    *([], {}, [None], {"x": None}, {"from": "Selector"}, "10.0.0.1/33", "::ffff:10.0.0.1/96", "10.0.0.7/8"),
)


@st.composite
def bent(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    """A candidate with one thing changed at a random place: replaced, removed, added or repeated."""
    manifest = deepcopy(draw(candidates(kind)))
    parent, key = draw(st.sampled_from(list(_places(manifest))))
    action = draw(st.sampled_from(("replace", "replace", "remove", "unknown", "repeat", "stretch")))
    value = parent[key]
    if action == "replace":
        parent[key] = draw(st.sampled_from(JUNK))
    elif action == "remove":
        del parent[key]
    elif action == "unknown" and isinstance(value, dict):
        value[draw(st.sampled_from(("unknown", "Type", "v_things")))] = draw(st.sampled_from(JUNK))
    elif action == "repeat" and isinstance(value, list) and value:
        value.append(deepcopy(value[0]))
    elif action == "stretch" and isinstance(value, str):
        parent[key] = value + draw(st.sampled_from(("\n", " ", "é", "/", ".", "-", "A", "x" * 250)))
    return manifest


def _places(manifest: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of the name and the spec."""
    yield manifest["metadata"], "name"
    yield manifest, "spec"
    waiting: list[Any] = [manifest["spec"]]
    while waiting:
        container = waiting.pop()
        pairs = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in pairs:
            yield container, key
            if isinstance(value, (dict, list)):
                waiting.append(value)
