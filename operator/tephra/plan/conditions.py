"""From findings to a status: each aspect of an object is judged once, and the summary follows from the first bad one.

A planner looks at its object aspect by aspect, in the order of cause and effect, and makes a :class:`Finding` of each.
:func:`judge` turns them into conditions: the first finding that is not good explains `Ready`, and its outlook says
whether the work goes on (`Reconciling`), mends itself, or needs somebody (`Stalled`). So decision and condition come
from the same place, as in cert-manager's policy chains. Words: :mod:`tephra.api.conditions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tephra.api.conditions import Reason, Type
from tephra.plan.base import EventNote, Object, World

SETTLING = 10.0
"""Seconds for which what is missing may just be on its way: objects applied together, a ThingVisor that still
announces. Only then is an absence held to be meant, and somebody called."""


class Outlook(Enum):
    """What follows from a finding."""

    GOOD = "good"
    WORKING = "working"
    """The work on this generation goes on."""
    MENDING = "mending"
    """The work is done, the result is not good, and it may become so by itself (a source that is down)."""
    STALLED = "stalled"
    """Somebody has to act; the message says who and how."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One aspect of an object, judged. Of type Ready: it bears on the summary only."""

    type: Type
    reason: Reason
    message: str = ""
    outlook: Outlook = Outlook.GOOD

    @property
    def status(self) -> str:
        if self.outlook is Outlook.GOOD:
            return "True"
        return "Unknown" if self.reason is Reason.WAITING_FOR_BUS else "False"

    def condition(self, type_: Type | None = None) -> dict[str, str]:
        return _condition(type_ or self.type, self.status, self.reason, self.message)


def working(type_: Type, reason: Reason, message: str) -> Finding:
    return Finding(type_, reason, message, Outlook.WORKING)


def mending(type_: Type, reason: Reason, message: str) -> Finding:
    return Finding(type_, reason, message, Outlook.MENDING)


def stalled(type_: Type, reason: Reason, message: str) -> Finding:
    return Finding(type_, reason, message, Outlook.STALLED)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the findings add up to; the fields are those of :class:`tephra.plan.base.Plan`."""

    conditions: tuple[Mapping[str, str], ...]
    settled: bool
    events: tuple[EventNote, ...]


def judge(desired: Object, findings: Sequence[Finding], good: str, notes: Sequence[Finding] = ()) -> Verdict:
    """Conditions and Events for findings in causal order; ``good`` is Ready's message when all are good.

    ``notes`` are findings that do not bear on the summary.
    """
    bad = next((finding for finding in findings if finding.outlook is not Outlook.GOOD), None)
    ready = bad or Finding(Type.READY, Reason.READY, good)
    conditions = [ready.condition(Type.READY)]
    if ready.outlook is Outlook.WORKING:
        conditions.append(_condition(Type.RECONCILING, "True", ready.reason, ready.message))
    if ready.outlook is Outlook.STALLED:
        conditions.append(_condition(Type.STALLED, "True", ready.reason, ready.message))
    conditions += [each.condition() for each in (*findings, *notes) if each.type is not Type.READY]
    return Verdict(tuple(conditions), ready.outlook is not Outlook.WORKING, _events(desired, ready))


def tenancy(world: World) -> Finding:
    """A note: whether the bus enforces who may read and write."""
    if world.bus.enforced:
        return Finding(Type.TENANCY_ENFORCED, Reason.ENFORCED)
    return stalled(
        Type.TENANCY_ENFORCED,
        Reason.NOT_ENFORCED,
        "the authoriser is static: the administrator has to load the exported access list into the broker",
    )


def _condition(type_: Type, status: str, reason: Reason, message: str) -> dict[str, str]:
    return {"type": type_.value, "status": status, "reason": reason.value, "message": message}


def _events(desired: Object, ready: Finding) -> tuple[EventNote, ...]:
    """An Event when Ready becomes False for another reason than before, or True again; none while work goes on.

    An object that comes up as it should makes none: there may be thousands, and the condition says it.
    """
    before, good = previous(desired, Type.READY), ready.outlook is Outlook.GOOD
    if ready.outlook is Outlook.WORKING or (before.get("status"), before.get("reason")) == (ready.status, ready.reason):
        return ()
    if good and not before:
        return ()
    return (EventNote(ready.reason, ready.message, "Normal" if good else "Warning"),)


def previous(desired: Object, type_: Type) -> Mapping[str, Any]:
    """A condition as the object's status has it now; empty when it has none."""
    conditions = (desired.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == type_), {})
