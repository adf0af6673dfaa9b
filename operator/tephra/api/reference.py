"""Writes ``docs/reference/``: ``python -m tephra.api.reference docs/reference/ [--check]``.

``kinds.md`` says every field of every kind, read from the same schema that the API server gets; ``conditions.md`` every
condition and reason. Neighbours: :mod:`.crd` (schema), :mod:`.conditions` (vocabulary).
"""

import sys
from collections.abc import Iterator
from typing import Any

from tephra.api import API_VERSION
from tephra.api.base import JsonSchema
from tephra.api.conditions import CAUSE, MEANING
from tephra.api.crd import root_schema, run
from tephra.api.kinds import KINDS, Kind

_NOTE = "<!-- Made by `make crds` from operator/tephra/api; do not edit. -->\n"
_BOUNDS = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "from {}",
    "maximum": "to {}",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minProperties": "at least {} keys",
    "maxProperties": "at most {} keys",
    "pattern": "matches `{}`",
}


def kinds_page() -> str:
    """Every field of every kind."""
    sections = [_kind_section(kind) for kind in KINDS.values()]
    head = f"# Kinds of `{API_VERSION}`\n\n{_NOTE}\n`kubectl explain KIND --recursive` prints the same.\n"
    return "\n".join([head, *sections])


def _kind_section(kind: Kind) -> str:
    info, schema = kind.info, root_schema(kind)
    short = ", ".join(f"`{name}`" for name in info.short_names)
    lines = [f"## {info.kind}\n", f"{info.description} {info.scope}; short name {short}.\n"]
    for half in ("spec", "status"):
        lines += [f"### {info.kind} {half}\n", "| field | type | what |", "|---|---|---|"]
        lines += [_row(*field) for field in _fields(schema["properties"][half], half)]
        lines.append("")
    rules = list(_rules(schema, ""))
    if rules:
        lines += ["Rules:\n", *rules, ""]
    return "\n".join(lines)


def _fields(schema: JsonSchema, path: str) -> Iterator[tuple[str, JsonSchema, bool]]:
    """Every field as (path, schema, required), depth first."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field, name in schema.get("required", ())
        yield from _fields(field, f"{path}.{name}")
        for keyword, suffix in (("items", "[]"), ("additionalProperties", ".*")):
            if keyword in field:
                yield from _fields(field[keyword], f"{path}.{name}{suffix}")


def _row(path: str, field: JsonSchema, required: bool) -> str:
    facts = [field["description"], *_facts(field)]
    if required:
        facts.insert(0, "*Required.*")
    return f"| `{path}` | {_type(field)} | {_cell(' '.join(facts))} |"


def _type(field: JsonSchema) -> str:
    if "items" in field:
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map to {_type(field['additionalProperties'])}"
    return "any object" if "x-kubernetes-preserve-unknown-fields" in field else str(field["type"])


def _facts(field: JsonSchema) -> Iterator[str]:
    if "enum" in field:
        yield f"One of {', '.join(f'`{value}`' for value in field['enum'])}."
    bounds = [text.format(field[key]) for key, text in _BOUNDS.items() if key in field]
    if bounds:
        yield f"({', '.join(bounds)})"
    if "x-kubernetes-list-map-keys" in field:
        yield f"Unique by {', '.join(f'`{key}`' for key in field['x-kubernetes-list-map-keys'])}."
    if "default" in field:
        yield f"Default: `{_plain(field['default'])}`."


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(item)}" for key, item in value.items()) + "}"
    return str(value)


def _rules(schema: JsonSchema, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        where = (path + rule.get("fieldPath", "")).lstrip(".")
        yield f"- `{where}`: {rule['message']}."
    for name, field in schema.get("properties", {}).items():
        yield from _rules(field, f"{path}.{name}")
        yield from _rules(field.get("items", {}), f"{path}.{name}[]")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def conditions_page() -> str:
    """Every condition type and every reason."""
    lines = [
        "# Conditions\n",
        _NOTE,
        "Every kind has `Ready`, and `Reconciling` or `Stalled` while either holds. A condition is good when `True`,",
        "except those two. `status.observedGeneration` is the generation whose work is done; -1 before the first.\n",
        "| type | True means |",
        "|---|---|",
        *(f"| `{kind}` | {meaning} |" for kind, meaning in MEANING.items()),
        "\n| reason | what it means, what to do |",
        "|---|---|",
        *(f"| `{reason}` | {' '.join(cause).strip()} |" for reason, cause in CAUSE.items()),
    ]
    return "\n".join(lines) + "\n"


def files() -> dict[str, str]:
    """File name → content of every generated page."""
    return {"kinds.md": kinds_page(), "conditions.md": conditions_page()}


if __name__ == "__main__":
    sys.exit(run(files(), "Writes the reference pages from the models."))
