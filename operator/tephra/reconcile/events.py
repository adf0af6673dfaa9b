"""Kubernetes Events (events.k8s.io/v1): few, de-duplicated, and never in the way of the work.

Role: the engine hands over notes without waiting; a task of its own writes them. Rules: one note (object, reason,
message) is written once; repetitions are counted and written as a series at most every :data:`REPEAT_S`; an object
gets a burst of :data:`BURST` and then one a :data:`REFILL_S`. A note that cannot be written is dropped: conditions
carry the state, Events only tell a story.
"""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from tephra.kube.errors import AlreadyExists, ApiError, Invalid
from tephra.kube.resources import resource
from tephra.plan.base import EventNote, Object

log = logging.getLogger(__name__)

REPEAT_S = 600.0
BURST = 10
REFILL_S = 60.0
REMEMBERED = 10_000  # notes and objects that are remembered; the oldest are forgotten first
BACKLOG = 1_000
CONTROLLER = "tephra.dev/operator"


class EventWriter(Protocol):
    """The part of :class:`tephra.kube.client.Client` that is used here."""

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]: ...
    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]: ...


class _Subject(NamedTuple):
    uid: str
    reason: str
    message: str


@dataclass(slots=True)
class _Told:
    """A note that was written: when, and how often it has been seen since the first time."""

    at: float
    count: int = 1


@dataclass(slots=True)
class _Bucket:
    """Tokens of one object."""

    tokens: float
    at: float


class EventRecorder:
    """Give it notes at any time; :meth:`run` writes them."""

    def __init__(self, writer: EventWriter, instance: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._writer, self._instance, self._clock = writer, instance, clock
        self._told: OrderedDict[_Subject, _Told] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._backlog: asyncio.Queue[tuple[Object, EventNote, int]] = asyncio.Queue(BACKLOG)

    def note(self, item: Object, note: EventNote) -> None:
        """Queue an Event about ``item``, unless it says nothing new or the object has said enough."""
        uid = str(item["metadata"]["uid"])
        subject, now = _Subject(uid, note.reason, note.message), self._clock()
        told = self._told.get(subject)
        if told is not None:
            told.count += 1
            if note.type == "Normal" or now - told.at < REPEAT_S:
                return
        if self._backlog.full() or not self._allowed(uid, now):
            return
        count = told.count if told else 1
        self._told[subject] = _Told(now, count)
        self._told.move_to_end(subject)
        _forget_oldest(self._told)
        self._backlog.put_nowait((item, note, count))

    def _allowed(self, uid: str, now: float) -> bool:
        bucket = self._buckets.setdefault(uid, _Bucket(BURST, now))
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) / REFILL_S)
        bucket.at = now
        self._buckets.move_to_end(uid)
        _forget_oldest(self._buckets)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    async def run(self) -> None:
        """Write notes for ever."""
        while True:
            item, note, count = await self._backlog.get()
            try:
                await self._write(manifest(item, note, self._instance, time.time()), count)
            except ApiError as error:
                log.debug("an Event is dropped: %s", error)

    async def _write(self, event: dict[str, Any], count: int) -> None:
        if count > 1:
            series = {"count": count, "lastObservedTime": event["eventTime"]}
            short = {name: event[name] for name in ("apiVersion", "kind", "metadata")}
            try:
                await self._writer.apply({**short, "series": series})
            except Invalid:  # the first one has expired
                pass
            else:
                return
        with contextlib.suppress(AlreadyExists):  # told by an earlier life of this process
            await self._writer.create(event)


def manifest(item: Object, note: EventNote, instance: str, now: float) -> dict[str, Any]:
    """The Event; its name follows from what it says, so that telling it twice makes one."""
    meta = item["metadata"]
    digest = hashlib.sha256("\0".join((meta["uid"], note.reason, note.message)).encode()).hexdigest()[:16]
    regarding = {"apiVersion": item["apiVersion"], "kind": item["kind"]}
    regarding.update({name: meta[name] for name in ("namespace", "name", "uid", "resourceVersion") if name in meta})
    return {
        "apiVersion": resource("Event").api_version,
        "kind": "Event",
        "metadata": {"namespace": meta.get("namespace") or "default", "name": f"{meta['name'][:200]}.{digest}"},
        "eventTime": datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": note.action,
        "reason": str(note.reason),
        "note": note.message[:1024],
        "type": note.type,
        "regarding": regarding,
    }


def _forget_oldest(memory: "OrderedDict[Any, Any]") -> None:
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
