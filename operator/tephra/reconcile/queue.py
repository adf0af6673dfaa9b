"""One queue of keys for the whole operator: de-duplicated, prioritised, fair between namespaces, with backoff.

Role: everything that happens puts a key in; the workers of :mod:`.loop` take keys out. Rules:

- A key waits once, however often it is added; adding it with a better priority moves it forward.
- A key that a worker holds is not given to another; added meanwhile, it is queued again when the worker is done.
- Classes are strict: deletions, user edits, data-plane reports, resync. Inside a class namespaces take turns, so
  a tenant with a thousand objects delays another's single one by at most one.
- A delayed key (backoff, requeue) becomes due by the injected clock; anything new about it comes first.
"""

import asyncio
import heapq
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from tephra.plan.base import Key


class Priority(IntEnum):
    """Smaller comes first."""

    DELETE = 0
    EDIT = 1
    DATA = 2
    RESYNC = 3


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds to wait after the n-th failure in a row: doubling, with jitter, bounded."""

    first: float = 0.2
    cap: float = 60.0

    def delay(self, failures: int) -> float:
        return min(self.cap, self.first * 2.0 ** min(failures - 1, 32)) * random.uniform(0.75, 1.25)


class Taken(NamedTuple):
    """A key handed to a worker, the class it waited in, and for how long (seconds)."""

    key: Key
    priority: Priority
    waited: float


class KeyQueue:
    """The queue; not thread-safe, for one event loop. ``clock`` gives seconds and never goes back."""

    def __init__(self, clock: Callable[[], float], backoff: Backoff | None = None) -> None:
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._ready: list[OrderedDict[str, dict[Key, float]]] = [OrderedDict() for _ in Priority]
        self._class: dict[Key, Priority] = {}  # of every key that is ready
        self._held: dict[Key, Priority | None] = {}  # by a worker → added again meanwhile?
        self._due: dict[Key, tuple[float, Priority]] = {}
        self._timers: list[tuple[float, Key]] = []  # heap; entries that `_due` does not confirm are stale
        self._failures: dict[Key, int] = {}
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self.retries = 0

    def __len__(self) -> int:
        return len(self._class)

    def depth(self, priority: Priority) -> int:
        """How many keys are ready in a class."""
        return sum(len(keys) for keys in self._ready[priority].values())

    @property
    def delayed(self) -> int:
        return len(self._due)

    @property
    def held(self) -> int:
        return len(self._held)

    def add(self, key: Key, priority: Priority) -> None:
        if key in self._held:
            before = self._held[key]
            self._held[key] = priority if before is None else min(before, priority)
            return
        since = self._clock()
        current = self._class.get(key)
        if current is not None:
            if current <= priority:
                return
            since = self._remove(key, current)
        self._class[key] = priority
        self._ready[priority].setdefault(key.namespace, {})[key] = since
        self._wake()

    def add_after(self, key: Key, delay: float, priority: Priority = Priority.DATA) -> None:
        """Add it ``delay`` seconds from now; of several delays of one key the earliest holds."""
        due = self._clock() + delay
        current = self._due.get(key)
        if current is not None and current[0] <= due:
            return
        self._due[key] = (due, priority)
        heapq.heappush(self._timers, (due, key))
        self._wake()

    def pop(self) -> Taken | None:
        """The next key, now held by the caller until :meth:`done`; None when nothing is ready."""
        self._promote()
        for priority, spaces in zip(Priority, self._ready, strict=True):
            if spaces:
                namespace, keys = next(iter(spaces.items()))
                key = next(iter(keys))
                since = self._remove(key, priority)
                if namespace in spaces:
                    spaces.move_to_end(namespace)
                self._held[key] = None
                self._due.pop(key, None)  # the coming pass decides anew
                return Taken(key, priority, self._clock() - since)
        return None

    async def get(self) -> Taken:
        """Wait for the next key."""
        while (taken := self.pop()) is None:
            await self._wait()
        return taken

    def done(self, key: Key) -> None:
        """The worker is finished with the key; it goes back in when it was added meanwhile."""
        again = self._held.pop(key)
        if again is not None:
            self.add(key, again)

    def retry(self, key: Key, priority: Priority = Priority.DATA) -> float:
        """After a failure: add it again after a backoff, which is returned."""
        self._failures[key] = self._failures.get(key, 0) + 1
        self.retries += 1
        delay = self._backoff.delay(self._failures[key])
        self.add_after(key, delay, priority)
        return delay

    def forget(self, key: Key) -> None:
        """After a success: the next failure starts with the shortest backoff."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        return self._failures.get(key, 0)

    def next_due(self) -> float | None:
        """When the next delayed key becomes ready, by the clock."""
        while self._timers and self._stale(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _stale(self, timer: tuple[float, Key]) -> bool:
        entry = self._due.get(timer[1])
        return entry is None or entry[0] != timer[0]

    def _promote(self) -> None:
        now = self._clock()
        while (due := self.next_due()) is not None and due <= now:
            _, key = heapq.heappop(self._timers)
            _, priority = self._due.pop(key)
            self.add(key, priority)

    def _remove(self, key: Key, priority: Priority) -> float:
        """Take a ready key out of its class; returns since when it waited."""
        del self._class[key]
        keys = self._ready[priority][key.namespace]
        since = keys.pop(key)
        if not keys:
            del self._ready[priority][key.namespace]
        return since

    def _wake(self) -> None:
        """Let one waiting worker look again."""
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _wait(self) -> None:
        """Until something is added or the next delayed key is due."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters[waiter] = None
        due = self.next_due()
        timer = None if due is None else loop.call_later(max(0.0, due - self._clock()), _resolve, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._wake()  # pass on what this worker was woken for
            raise
        finally:
            self._waiters.pop(waiter, None)
            if timer:
                timer.cancel()


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
