"""Judges a manifest as the API server would: for tests, the plugin and whoever wants the answer before applying.

Covers what a CRD covers: fields, types, bounds and rules of ``spec``, and the name. Not covered: ``status`` (ignored on
create), the rest of ``metadata``, and transition rules, which need the object before. A property test holds these
answers to a real API server's.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from tephra.api import API_VERSION
from tephra.api.kinds import KINDS, Kind

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_ROOT_FIELDS = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})


def validate_object(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong, one ``path: cause`` each; empty for a manifest that the API server takes."""
    kind = KINDS.get(manifest.get("kind", ""))
    if kind is None:
        return [f"kind: {manifest.get('kind')!r} is none of {', '.join(KINDS)}"]
    found = [*_envelope(manifest), *_spec(kind, manifest.get("spec"))]
    if found:
        return found
    return [
        f"{rule.at.lstrip('.')}: {rule.message}" for rule in kind.info.rules if rule.holds and not rule.holds(manifest)
    ]


def _envelope(manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest.get("apiVersion") != API_VERSION:
        yield f"apiVersion: {manifest.get('apiVersion')!r} is not {API_VERSION}"
    for unknown in sorted(manifest.keys() - _ROOT_FIELDS):
        yield f"{unknown}: unknown field"
    name = (manifest.get("metadata") or {}).get("name")
    if not isinstance(name, str) or len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        yield f"metadata.name: {name!r} is not an RFC 1123 subdomain of at most 253 characters"


def _spec(kind: Kind, spec: Any) -> Iterator[str]:
    try:
        kind.spec.model_validate(spec, by_alias=True, by_name=False)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            yield f"{_path(detail['loc'])}: {detail['msg']}"


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
