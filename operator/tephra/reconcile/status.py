"""From a plan's status to the one that is written: conditions completed, compared, and wrapped for one apply.

Rules (DESIGN §4): `observedGeneration`, on the object and on each condition, moves only in a settled plan;
`lastTransitionTime` changes only when a condition's status does; a status that says nothing new is not written.
Pure; used by :mod:`.loop`.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from tephra.api import API_VERSION
from tephra.api.conditions import Reason, Type
from tephra.plan.base import EventNote, Object, Plan

NOT_OBSERVED = -1
Condition = dict[str, Any]


def complete(plan: Plan, desired: Object, previous: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The whole status to write for ``desired``, from what the plan says and the ``previous`` status."""
    generation = desired["metadata"]["generation"]
    observed = generation if plan.settled else previous.get("observedGeneration", NOT_OBSERVED)
    status = {name: value for name, value in (plan.status or {}).items() if value is not None}
    status["observedGeneration"] = observed
    conditions, before = status.get("conditions") or (), previous.get("conditions") or ()
    status["conditions"] = merge(conditions, before, max(observed, 0), now)
    return status


def merge(
    conditions: Iterable[Mapping[str, Any]], previous: Iterable[Mapping[str, Any]], observed: int, now: float
) -> list[Condition]:
    """Conditions with times and generation; one that keeps its status keeps its transition time."""
    before = {each["type"]: each for each in previous}
    return [_merged(each, before.get(each["type"]), observed, now) for each in conditions]


def _merged(condition: Mapping[str, Any], before: Mapping[str, Any] | None, observed: int, now: float) -> Condition:
    kept = before is not None and before["status"] == condition["status"]
    return {
        "type": str(condition["type"]),
        "status": condition["status"],
        "reason": str(condition["reason"]),
        "message": condition.get("message", ""),
        "observedGeneration": observed,
        "lastTransitionTime": before["lastTransitionTime"] if kept and before else timestamp(now),
    }


def same(status: Mapping[str, Any], live: Mapping[str, Any] | None) -> bool:
    """Whether the live status says all of this and no more.

    The order of conditions does not matter, nor whether a zero value is spelled out: the API server may add
    defaults, and removes nulls.
    """
    if live is None or status.get("observedGeneration") != live.get("observedGeneration"):
        return False
    return status == live or _essence(status) == _essence(live)


def _essence(value: Any) -> Any:
    if isinstance(value, Mapping):
        parts = ((name, _essence(part)) for name, part in value.items())
        return {name: part for name, part in parts if part not in _ZERO}
    if isinstance(value, list | tuple):
        items = [_essence(part) for part in value]
        if items and all(isinstance(item, dict) and "type" in item for item in items):
            return {item["type"]: item for item in items}  # conditions
        return items
    return value


_ZERO: tuple[Any, ...] = (None, "", 0, [], {})  # False equals 0


def manifest(desired: Object, status: Mapping[str, Any]) -> dict[str, Any]:
    """The server-side apply of ``status``."""
    meta = {name: desired["metadata"][name] for name in ("namespace", "name") if name in desired["metadata"]}
    return {
        "apiVersion": desired.get("apiVersion", API_VERSION),
        "kind": desired["kind"],
        "metadata": meta,
        "status": status,
    }


def refused(plan: Plan, desired: Object, error: Exception) -> Plan:
    """The plan's report when the cluster refused an action for good: Ready is False, and Stalled says why."""
    why = {"reason": Reason.REFUSED, "message": str(error)}
    verdict = [{"type": Type.READY, "status": "False", **why}, {"type": Type.STALLED, "status": "True", **why}]
    status = dict(plan.status or desired.get("status") or {})
    replaced = {Type.READY, Type.STALLED, Type.RECONCILING}
    kept = [each for each in status.get("conditions") or () if each["type"] not in replaced]
    note = EventNote(Reason.REFUSED, str(error), "Warning")
    return Plan(status={**status, "conditions": verdict + kept}, events=(*plan.events, note))


def timestamp(now: float) -> str:
    """RFC 3339, whole seconds, as `metav1.Time`."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
