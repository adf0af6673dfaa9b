"""Flavour: is it usable? Its schema must be one, and its example must satisfy it. It makes nothing by itself."""

from typing import Any

from tephra.api.conditions import Reason, Type
from tephra.plan import params
from tephra.plan.base import NOTHING, Key, Object, Plan, World
from tephra.plan.conditions import Finding, judge, stalled


def plan(desired: Object | None, key: Key, world: World) -> Plan:
    """Report whether the schema and the example are right."""
    if desired is None:
        return NOTHING
    finding, example = check(desired)
    verdict = judge(desired, [finding], "ready to be used")
    status = {"conditions": verdict.conditions, "example": example}
    return Plan(status=status, events=verdict.events, settled=verdict.settled)


def check(item: Object) -> tuple[Finding, dict[str, Any]]:
    """Judge `spec.params` of a Flavour or ThingVisorType; with it the example, completed with defaults."""
    declared = item["spec"].get("params") or {}
    schema, example = declared.get("schema") or {}, declared.get("example") or {}
    try:
        completed = params.complete(schema, example, "spec.params.example")
    except params.ParamsInvalid as error:
        if not example:  # nothing is claimed, so nothing is wrong: only the schema was to be tried
            return Finding(Type.PARAMS_VALID, Reason.VALID), {}
        return _wrong(f"the example breaks the schema: {error}"), {}
    except params.SchemaInvalid as error:
        return _wrong(f"spec.params.schema: {error}"), {}
    return Finding(Type.PARAMS_VALID, Reason.VALID), completed


def _wrong(message: str) -> Finding:
    return stalled(Type.PARAMS_VALID, Reason.SCHEMA_INVALID, message)
