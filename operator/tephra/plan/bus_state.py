"""What planners share about the bus: confirmation by revision, forgetting, and when a ThingVisor's list is complete."""

from collections.abc import Iterable, Iterator
from typing import Any

from tephra.api.conditions import Reason, Type
from tephra.bus.messages import ThingVisorReport
from tephra.plan.base import Action, BusForget, BusPublish, World, fingerprint
from tephra.plan.conditions import SETTLING, Finding, working

_SKEW = 60.0
"""Seconds by which the clock of a ThingVisor's node may be ahead; beyond that its start is no measure of anything."""


def revision_of(content: Any) -> str:
    """A digest of JSON content, by which the other end confirms what it has put in force."""
    return fingerprint({"content": content})


def no_bus(type_: Type) -> Finding:
    message = "the operator has no connection to the bus; the pod goes on with what it was told last"
    return working(type_, Reason.WAITING_FOR_BUS, message)


def settles_in(report: ThingVisorReport | None, now: float) -> float | None:
    """Seconds until a ThingVisor that just started is held to have announced everything; None when it has.

    Before that, what is not on its list may be on its way: nothing is withdrawn.
    """
    if report is None:
        return None
    left = report.epoch / 1000 + SETTLING - now
    return min(left, SETTLING) if 0 < left < SETTLING + _SKEW else None


def forget(user: str, topics: Iterable[str], prefix: str, world: World) -> tuple[Action, ...]:
    """Remove an identity, then every retained message about it, so that it cannot publish them again.

    Without a connection nothing is asked for: the sweep after the next one finds what is left.
    """
    if not world.bus.connected:
        return ()
    retained = (topic for topic in world.bus.retained if topic.startswith(prefix))
    return (BusForget(user), *clear({*topics, *retained}))


def clear(topics: Iterable[str]) -> Iterator[Action]:
    """Remove retained messages."""
    return (BusPublish(topic, None) for topic in sorted(topics))
