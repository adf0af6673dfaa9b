"""Writes ``crds/<plural>.yaml`` from the models: ``python -m tephra.api.crd crds/ [--check]`` (``make crds``).

pydantic's JSON Schema is no structural schema: it has references, ``anyOf`` with null for optional fields, titles,
``additionalProperties: false``. :func:`structural` rewrites what it knows and refuses every keyword it does not, so
nothing reaches the API server by accident. It also refuses a field without description, and a string, list or map
without an upper bound, because the API server budgets CEL rules by these bounds.

Defaults: an empty default ("", [], {}) is not written, since absent means the same; so a stored object stays as its
author wrote it. Status has none but ``observedGeneration: -1`` ("not reconciled yet" for kstatus).
Source: Kubernetes "Extend the Kubernetes API with CustomResourceDefinitions", section on structural schemas.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tephra.api import GROUP, VERSION
from tephra.api.base import Column, JsonSchema, Model
from tephra.api.kinds import KINDS, Kind

HEADER = "# Made by `make crds` from operator/tephra/api; do not edit.\n"
_SCALAR_KEYWORDS = (
    *("description", "type", "format", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum"),
    *("minItems", "maxItems", "minProperties", "maxProperties", "required"),
)
_DROPPED = ("title", "$defs", "default")
_UNBOUNDED = {"string": "maxLength", "array": "maxItems"}


class NotStructural(ValueError):
    """A model that has no structural schema; the message names the field and says what to change."""


def structural(node: JsonSchema, defs: Mapping[str, JsonSchema], path: str, *, defaults: bool) -> JsonSchema:
    """The structural schema of a pydantic one. ``path`` names the field in errors; raises NotStructural."""
    node = _flat(node, defs, path)
    schema = {key: node.pop(key) for key in _SCALAR_KEYWORDS if key in node}
    schema.update({key: node.pop(key) for key in tuple(node) if key.startswith("x-kubernetes-")})
    if "description" in schema:
        schema["description"] = " ".join(schema["description"].replace("``", "`").split())
    if schema.get("type") == "integer":
        schema["format"] = "int64"
    if defaults and (default := _default(node.get("default"))) not in (None, "", [], {}):
        schema["default"] = default
    for keyword, value in node.items():
        if keyword == "properties":
            schema["properties"] = {
                name: _property(inner, defs, f"{path}.{name}", defaults=defaults) for name, inner in value.items()
            }
        elif keyword == "items" or (keyword == "additionalProperties" and isinstance(value, dict)):
            schema[keyword] = structural(value, defs, f"{path}[*]", defaults=defaults)
        elif keyword not in _DROPPED and (keyword, value) != ("additionalProperties", False):
            raise NotStructural(f"{path}: a structural schema has no {keyword!r}; model the field in another way")
    _check_bounds(schema, path)
    return schema


def _property(node: JsonSchema, defs: Mapping[str, JsonSchema], path: str, *, defaults: bool) -> JsonSchema:
    if not node.get("description"):
        raise NotStructural(f"{path}: has no description; add one to its Field")
    return structural(node, defs, path, defaults=defaults)


def _flat(node: JsonSchema, defs: Mapping[str, JsonSchema], path: str) -> JsonSchema:
    """The node with its reference inlined, ``X | None`` as X (absent, never null), and ``const`` as ``enum``."""
    node = dict(node)
    if "anyOf" in node:
        choices = [choice for choice in node.pop("anyOf") if choice != {"type": "null"}]
        if len(choices) != 1:
            raise NotStructural(f"{path}: a structural schema has no unions; use one type, or two fields and a rule")
        node = choices[0] | node
    if "$ref" in node:
        node = defs[node.pop("$ref").removeprefix("#/$defs/")] | node
    if "const" in node:
        node["enum"] = [node.pop("const")]
    return node


def _default(value: Any) -> Any:
    """A default as a user would write it: without what is absent."""
    if isinstance(value, dict):
        stripped = {key: _default(item) for key, item in value.items()}
        return {key: item for key, item in stripped.items() if item not in (None, "", [], {})}
    return value


def _check_bounds(schema: JsonSchema, path: str) -> None:
    kind = schema.get("type")
    if kind is None:
        raise NotStructural(f"{path}: has no type")
    bound = "maxProperties" if "additionalProperties" in schema else _UNBOUNDED.get(kind)
    if bound and bound not in schema and "enum" not in schema:
        raise NotStructural(f"{path}: a {kind} needs {bound}; give its Field a max_length")


def half(model: type[Model], path: str, *, defaults: bool) -> JsonSchema:
    """The structural schema of ``spec`` or ``status``."""
    schema = model.model_json_schema(by_alias=True, mode="validation")
    return structural(schema, schema.get("$defs", {}), path, defaults=defaults)


def root_schema(kind: Kind) -> JsonSchema:
    """The schema of the whole object."""
    status = half(kind.status, f"{kind.info.kind}.status", defaults=False)
    status["default"] = {"observedGeneration": -1}
    status["properties"]["observedGeneration"]["default"] = -1
    schema: JsonSchema = {
        "description": kind.info.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"{GROUP}/{VERSION}"},
            "kind": {"type": "string", "description": kind.info.kind},
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
            "spec": half(kind.spec, f"{kind.info.kind}.spec", defaults=True),
            "status": status,
        },
    }
    if kind.info.rules:
        schema["x-kubernetes-validations"] = [rule.schema() for rule in kind.info.rules]
    return schema


def manifest(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    info = kind.info
    names = {
        "kind": info.kind,
        "listKind": f"{info.kind}List",
        "plural": info.plural,
        "singular": info.kind.lower(),
        "shortNames": list(info.short_names),
        "categories": ["tephra"],
    }
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in info.columns],
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": root_schema(kind)},
    }
    if info.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in info.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{info.plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": info.scope, "names": names, "versions": [version]},
    }


def _column(column: Column) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.priority:
        shown["priority"] = column.priority
    return shown


class _Plain(yaml.SafeDumper):
    """YAML without anchors, which people and other parsers find hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def files() -> dict[str, str]:
    """File name → content of every CRD."""
    return {
        f"{kind.info.plural}.yaml": HEADER + yaml.dump(manifest(kind), Dumper=_Plain, sort_keys=False, width=110)
        for kind in KINDS.values()
    }


def sync(folder: Path, wanted: Mapping[str, str], *, check: bool) -> list[str]:
    """Write the files that differ, or only name them (``check``)."""
    stale = [name for name, text in wanted.items() if not _same(folder / name, text)]
    if not check:
        folder.mkdir(parents=True, exist_ok=True)
        for name in stale:
            (folder / name).write_text(wanted[name])
    return stale


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def run(wanted: Mapping[str, str], description: str, argv: list[str] | None = None) -> int:
    """The command line of a generator: ``FOLDER [--check]``; 1 when ``--check`` finds a stale file."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    args = parser.parse_args(argv)
    stale = sync(args.folder, wanted, check=args.check)
    for name in stale:
        print(f"{args.folder / name}: {'stale; run the generator without --check' if args.check else 'written'}")
    return 1 if args.check and stale else 0


if __name__ == "__main__":
    sys.exit(run(files(), "Writes the CustomResourceDefinitions from the models."))
