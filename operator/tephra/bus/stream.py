"""The ordered stream of one vThing: what the publisher keeps, and how the receiver puts it back in order.

QoS 1 alone loses and reorders: a killed broker forgets what it acknowledged since its last save. So messages carry a
number (``seq``, from 1 without holes) and the life of their ThingVisor (``epoch``). The :class:`Ring` keeps the recent
past and answers a :class:`~tephra.bus.messages.RepairRequest`; the :class:`Sequencer` delivers each message exactly
once and in order, asks for what is missing, and gives up on it only when the ring no longer has it or nobody answers.

Pure state machines: time comes in as an argument (seconds, monotonic), messages go out as return values. The SDK
(:mod:`tephra.things`) owns rings, silo controllers (:mod:`tephra.silos`) own sequencers, one per attached vThing.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from tephra.bus.messages import RepairRequest

T = TypeVar("T")


class Record(NamedTuple):
    """One message as the ring keeps it."""

    thing: str
    entity: str
    seq: int
    payload: bytes


class Answer(NamedTuple):
    """One piece of the answer to a repair request: a record, or (``record`` None) "nothing older than ``seq``"."""

    seq: int
    record: Record | None


class Ring:
    """The publisher's memory: the last ``max_age`` s of all its vThings, at most ``max_count`` messages.

    The last message of every entity is kept for good; an empty one says that the entity is gone, and ends that.
    """

    def __init__(self, epoch: int, max_age: float = 30.0, max_count: int = 20_000) -> None:
        self.epoch = epoch
        self._max_age = max_age
        self._max_count = max_count
        self._times: deque[tuple[float, str]] = deque()
        self._recent: dict[str, deque[Record]] = {}
        self._next: dict[str, int] = {}
        self._last: dict[str, dict[str, Record]] = {}

    def put(self, thing: str, entity: str, payload: bytes, now: float) -> Record:
        """Number the message and remember it."""
        seq = self._next.get(thing, 1)
        self._next[thing] = seq + 1
        record = Record(thing, entity, seq, payload)
        self._recent.setdefault(thing, deque()).append(record)
        last = self._last.setdefault(thing, {})
        if payload:
            last[entity] = record
        else:
            last.pop(entity, None)
        self._times.append((now, thing))
        self._expire(now)
        return record

    def _expire(self, now: float) -> None:
        times = self._times
        while times and (len(times) > self._max_count or now - times[0][0] > self._max_age):
            _, thing = times.popleft()
            self._recent[thing].popleft()
            if not self._recent[thing]:
                del self._recent[thing]

    def last(self, thing: str) -> list[Record]:
        """The last message of every entity of one vThing, oldest first."""
        return sorted(self._last.get(thing, {}).values(), key=lambda record: record.seq)

    def things(self) -> list[str]:
        """Every vThing that has published."""
        return list(self._last)

    def answer(self, thing: str, request: RepairRequest, now: float) -> Iterator[Answer]:
        """What to send to whoever asks; see :class:`~tephra.bus.messages.RepairRequest`."""
        self._expire(now)
        if request.first is None:
            yield from (Answer(record.seq, record) for record in self.last(thing))
            return
        recent = self._recent.get(thing) or deque()
        oldest = recent[0].seq if recent else self._next.get(thing, 1)
        if request.epoch != self.epoch or request.first < oldest:
            yield Answer(oldest, None)
        if request.epoch == self.epoch:
            last = self._next.get(thing, 1) - 1 if request.last is None else request.last
            start = max(request.first, oldest) - oldest
            yield from (Answer(record.seq, record) for record in islice(recent, start, max(start, last - oldest + 1)))


class Outcome(NamedTuple, Generic[T]):
    """What to do now: deliver these in this order, put those aside (acknowledge them), ask for what is missing."""

    deliver: list[T]
    drop: list[T]
    ask: RepairRequest | None = None


class Sequencer(Generic[T]):
    """The receiver's side of one vThing.

    The stream starts behind the newest retained message of a first subscription, or at its first message. If the
    session was ``resumed`` when this sequencer was made, the backlog comes first and perhaps not in order: it is
    gathered until the first unicast answer (the broker sends that behind the backlog) or for ``settle`` s.

    At most ``capacity`` messages are held back, and none while there is no ``room``: streams may share a limit.

    Every method takes ``now`` (s, monotonic) and returns an :class:`Outcome`; :meth:`tick` is due at :attr:`deadline`.
    """

    def __init__(
        self,
        now: float,
        *,
        resumed: bool = False,
        patience: float = 5.0,
        capacity: int = 1000,
        room: Callable[[], bool] = lambda: True,
        settle: float = 1.0,
    ) -> None:
        self.lost = 0
        """Messages that were given up."""
        self._patience = patience
        self._capacity = capacity
        self._room = room
        self._started = False
        self._epoch = 0
        self._past: deque[int] = deque(maxlen=16)
        self._expected = 0
        """The next number to deliver; 0 before the first message."""
        self._seen = 0
        """The highest number heard of in this epoch."""
        self._held: dict[int, tuple[str, T]] = {}
        """Messages ahead of the expected one, by number."""
        self._latest: dict[str, tuple[int, int]] = {}
        """Epoch and number of what was delivered last, by entity."""
        self._backlog: dict[tuple[int, int], tuple[str, T]] = {}
        self._settling_until = now + settle if resumed else 0.0
        self._refresh_until = 0.0
        self._waiting_since: float | None = None
        """Since when the hole at the expected number is open without progress."""
        self._asked_at = 0.0
        self._asked_to = 0

    @property
    def deadline(self) -> float | None:
        """When :meth:`tick` has something to do; None: there is nothing to wait for."""
        if self._backlog:
            return self._settling_until
        if self._waiting_since is None:
            return None
        return min(self._asked_at + self._patience / 5, self._waiting_since + self._patience)

    def offer(
        self, epoch: int, seq: int, entity: str, item: T, now: float, *, retained: bool = False, unicast: bool = False
    ) -> Outcome[T]:
        """A message came: from ``data_out`` (``retained`` as flagged) or, ``unicast``, as an answer to a request."""
        if seq == self._expected and epoch == self._epoch and not self._settling_until:
            return self._advance(entity, item, now)
        if self._settling_until:
            if not retained and not unicast and len(self._backlog) < self._capacity:
                return self._gather(epoch, seq, entity, item)
            return _join(
                self._settle(now), self.offer(epoch, seq, entity, item, now, retained=retained, unicast=unicast)
            )
        if not self._started and (retained or unicast):
            return self._start(epoch, seq, entity, item)
        if epoch == self._epoch:
            behind, flushed = seq < self._expected, []
        else:
            behind = epoch in self._past or (retained and epoch < self._epoch)
            flushed = [] if behind else self._enter(epoch, seq)
        if behind:
            return self._late(epoch, seq, entity, item, now, retained, unicast)
        return _join(Outcome(flushed, []), self._hold(seq, entity, item, now))

    def gone(self, epoch: int, seq: int, now: float) -> Outcome[T]:
        """The ring has nothing older than ``seq``: stop waiting for it."""
        if not self._started or epoch in self._past:
            return Outcome([], [])
        flushed = [] if epoch == self._epoch else self._enter(epoch, 1)
        return Outcome(flushed + self._skip_to(seq), [], self._look_for_hole(now, progress=True))

    def tick(self, now: float) -> Outcome[T]:
        """Time has passed: start without the rest of the backlog, ask again, or give up what nobody sends."""
        if self._backlog and now >= self._settling_until:
            return self._settle(now)
        if self._waiting_since is None:
            return Outcome([], [])
        if now >= self._waiting_since + self._patience:
            given_up = self._skip_to(min(self._held, default=self._seen + 1))
            return Outcome(given_up, [], self._look_for_hole(now, progress=True))
        return Outcome([], [], self._ask(now) if now >= self._asked_at + self._patience / 5 else None)

    def refresh(self, now: float) -> RepairRequest:
        """Ask for the last value of every entity; for ``patience`` s the answers are delivered even when not new.

        For a tenant's broker that has forgotten, and for a controller that resumed a session. An older value of an
        entity still never follows a newer one.
        """
        self._refresh_until = now + self._patience
        return RepairRequest()

    def reconnected(self, now: float) -> RepairRequest | None:
        """The connection is back: an open hole gets its full time again, and is asked for again."""
        if self._waiting_since is None:
            return None
        self._waiting_since = now
        return self._ask(now)

    def close(self) -> list[T]:
        """The thing is no longer wanted: what was held back of it."""
        return [item for _, item in (*self._held.values(), *self._backlog.values())]

    # -- before the stream has started

    def _start(self, epoch: int, seq: int, entity: str, item: T) -> Outcome[T]:
        """Last values at a first subscription: all are delivered, the newest sets the start."""
        if (epoch, seq) < self._latest.get(entity, (0, 0)):
            return Outcome([], [item])
        self._latest[entity] = epoch, seq
        if (epoch, seq + 1) > (self._epoch, self._expected):
            self._epoch, self._expected, self._seen = epoch, seq + 1, seq
        return Outcome([item], [])

    def _gather(self, epoch: int, seq: int, entity: str, item: T) -> Outcome[T]:
        if (epoch, seq) in self._backlog:
            return Outcome([], [item])
        self._backlog[epoch, seq] = entity, item
        return Outcome([], [])

    def _settle(self, now: float) -> Outcome[T]:
        backlog, self._backlog, self._settling_until = self._backlog, {}, 0.0
        outcome: Outcome[T] = Outcome([], [])
        for (epoch, seq), (entity, item) in sorted(backlog.items(), key=lambda entry: entry[0]):
            outcome = _join(outcome, self.offer(epoch, seq, entity, item, now))
        return outcome

    # -- the stream

    def _advance(self, entity: str, item: T, now: float) -> Outcome[T]:
        """The expected message: deliver it and what was held behind it."""
        self._latest[entity] = self._epoch, self._expected
        self._expected += 1
        self._started = True
        if self._waiting_since is None:
            return Outcome([item], [])
        return Outcome([item, *self._drain()], [], self._look_for_hole(now, progress=True))

    def _hold(self, seq: int, entity: str, item: T, now: float) -> Outcome[T]:
        """At or ahead of the expected number: what is ahead waits; beyond capacity it is asked for again later."""
        if seq == self._expected:
            return self._advance(entity, item, now)
        self._started = True
        self._seen = max(self._seen, seq)
        drop = [item]
        if seq not in self._held and len(self._held) < self._capacity and self._room():
            self._held[seq] = entity, item
            drop = []
        return Outcome([], drop, self._look_for_hole(now, progress=False))

    def _late(
        self, epoch: int, seq: int, entity: str, item: T, now: float, retained: bool, unicast: bool
    ) -> Outcome[T]:
        """Behind the stream: a duplicate, unless it is the last value of an entity that is unknown or asked for."""
        wanted = (unicast and now < self._refresh_until) or (retained and entity not in self._latest)
        if wanted and (epoch, seq) >= self._latest.get(entity, (0, 0)):
            self._latest[entity] = epoch, seq
            return Outcome([item], [])
        return Outcome([], [item])

    def _enter(self, epoch: int, seq: int) -> list[T]:
        """A life of the ThingVisor that is new to us; what the old one still owes will never come.

        Clocks may step back, so a life is old only when it was seen before; a retained message alone proves nothing.
        """
        flushed = self._skip_to(self._seen + 1) if self._held else []
        self._expected = 1 if self._epoch else seq
        self._past.append(self._epoch)
        self._epoch, self._seen, self._started, self._waiting_since = epoch, 0, True, None
        return flushed

    def _drain(self) -> list[T]:
        """Deliver what is held from the expected number on, up to the next hole."""
        deliver = []
        while (found := self._held.pop(self._expected, None)) is not None:
            entity, item = found
            self._latest[entity] = self._epoch, self._expected
            self._expected += 1
            deliver.append(item)
        return deliver

    def _skip_to(self, seq: int) -> list[T]:
        """Give up what is missing below ``seq``; deliver what is held."""
        deliver = []
        for number in sorted(number for number in self._held if number < seq):
            entity, item = self._held.pop(number)
            self._latest[entity] = self._epoch, number
            deliver.append(item)
        if seq > self._expected:
            self.lost += seq - self._expected - len(deliver)
            self._expected = seq
        return deliver + self._drain()

    def _look_for_hole(self, now: float, progress: bool) -> RepairRequest | None:
        """Begin, go on or cease to wait for a hole; the request when one is due."""
        if self._expected > self._seen:
            self._waiting_since = None
            return None
        if self._waiting_since is not None and not progress:
            return None
        hole_is_new = self._waiting_since is None or self._expected > self._asked_to
        self._waiting_since = self._asked_at = now
        return self._ask(now) if hole_is_new else None

    def _ask(self, now: float) -> RepairRequest:
        self._asked_at = now
        self._asked_to = min(self._held, default=self._seen + 1) - 1
        return RepairRequest(epoch=self._epoch, first=self._expected, last=self._asked_to)


def _join(first: Outcome[T], second: Outcome[T]) -> Outcome[T]:
    return Outcome(first.deliver + second.deliver, first.drop + second.drop, second.ask or first.ask)
