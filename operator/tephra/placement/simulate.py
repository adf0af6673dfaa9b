"""Arrivals and departures replayed over a topology, as `tephra-place simulate` and the benchmarks do.

Who places is an argument: any function of residual and request. Time is that of the arrivals; a request leaves before
those that arrive at the same moment, as its room is free by then.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from tephra.placement.model import Placement, Request
from tephra.placement.residual import Residual

Placer = Callable[[Residual, Request], object]


class Arrival(NamedTuple):
    """A request at a time; it leaves at `until`, never by default. Any unit of time."""

    at: float
    request: Request
    until: float = float("inf")


class Kind(StrEnum):
    """What happened."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    DEPARTED = "departed"


class Event(NamedTuple):
    """What happened to a request, and what is free afterwards. `answer` is the placer's, on a departure the placement
    that ended."""

    at: float
    kind: Kind
    request: Request
    answer: object
    residual: Residual


def replay(residual: Residual, arrivals: Iterable[Arrival], place: Placer) -> Iterator[Event]:
    """Every event in order of time. `arrivals` are in order; ValueError where they are not. Placements that end after
    the last arrival are not followed to their end."""
    leaving: list[tuple[float, int, Placement]] = []
    now = float("-inf")
    for number, arrival in enumerate(arrivals):
        if arrival.at < now or arrival.until < arrival.at:
            raise ValueError(f"Arrival {arrival.request.name!r} at {arrival.at}: not in order of time; sort by `at`")
        now = arrival.at
        while leaving and leaving[0][0] <= now:
            until, _, placement = heapq.heappop(leaving)
            residual = residual.release(placement)
            yield Event(until, Kind.DEPARTED, placement.request, placement, residual)
        answer = place(residual, arrival.request)
        if isinstance(answer, Placement):
            residual = residual.commit(answer)
            heapq.heappush(leaving, (arrival.until, number, answer))
        kind = Kind.ACCEPTED if isinstance(answer, Placement) else Kind.REFUSED
        yield Event(now, kind, arrival.request, answer, residual)
