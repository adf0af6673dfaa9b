"""The loop: a key comes out of the queue, a pure planner decides, actions are performed, one status is written.

The life of an event: :meth:`Engine.observe` files it in the cache; a real change enqueues the object itself, its
owner and its dependents; a worker takes the key and runs one pass: plan, perform, report. A pass that fails is
repeated after a backoff; one that the API server refuses for good says so in the object's conditions. While the
API server does not answer, all workers wait for it together instead of failing one object after the other.

Only the holder of the Lease acts: every action and every status write asks `leader.held` first.
Neighbours: :mod:`.queue`, :mod:`.cache`, :mod:`.status`, :mod:`tephra.plan`, :mod:`tephra.act.perform`.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tephra.api import labels
from tephra.kube.client import Listing
from tephra.kube.errors import ApiError, BadRequest, Forbidden, Invalid, NotFound, Unreachable
from tephra.plan.base import Action, BusState, Dependents, EventNote, Key, Object, Plan, Planner
from tephra.reconcile import status
from tephra.reconcile.cache import Cache, Change, What
from tephra.reconcile.logs import object_in_hand
from tephra.reconcile.queue import Backoff, KeyQueue, Priority, Taken
from tephra.reconcile.world import Snapshot, Surroundings

log = logging.getLogger(__name__)

SWEEP = Key("Sweep", "", "")
"""What is left over off the cluster, as a key: planned like any object, so never twice at once and repeated after a
failure. There are no finalizers: an object's last plan cleans up behind it, and the sweep finds what that missed."""


class Performer(Protocol):
    """Does the actions of one plan; returns when they are in force (:mod:`tephra.act.perform`).

    It calls ``may_act`` before each, which raises when the Lease is lost; what it found is answered as notes.
    """

    async def perform(self, actions: Sequence[Action], may_act: Callable[[], None]) -> Sequence[EventNote]: ...


class StatusWriter(Protocol):
    """Writes a status by server-side apply and answers with the object (:class:`tephra.kube.client.Client`)."""

    async def apply_status(self, manifest: Mapping[str, Any]) -> dict[str, Any]: ...
    async def healthy(self) -> bool: ...


class Leader(Protocol):
    """Whether acting is allowed at this moment, and the fencing epoch (:class:`tephra.kube.lease.Lease`)."""

    @property
    def held(self) -> bool: ...
    @property
    def epoch(self) -> int: ...


class Recorder(Protocol):
    """Takes notes for Kubernetes Events without waiting (:mod:`.events`)."""

    def note(self, item: Object, note: EventNote) -> None: ...


class Meter(Protocol):
    """Counts what the engine does (:mod:`.metrics`)."""

    def passed(self, taken: Taken, result: str, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """What the plan modules provide: a planner per kind (and for :data:`SWEEP`), and who depends on whom."""

    planners: Mapping[str, Planner]
    dependents: Mapping[str, Dependents]


@dataclass(frozen=True, slots=True)
class Ports:
    """The engine's only ways out."""

    performer: Performer
    writer: StatusWriter
    recorder: Recorder
    meter: Meter
    leader: Leader
    surroundings: Surroundings


@dataclass(frozen=True, slots=True)
class Tuning:
    """Seconds, but for ``workers``. ``grace_s``: how long an unsettled plan's status is held back."""

    workers: int = 16
    grace_s: float = 3.0
    pass_deadline_s: float = 60.0
    probe_every_s: float = 1.0
    backoff: Backoff = field(default_factory=Backoff)


class NotLeading(Exception):
    """The Lease is not ours (any more)."""


class Engine:
    """One per process; everything runs in its event loop."""

    def __init__(
        self,
        cache: Cache,
        rules: Rules,
        ports: Ports,
        tuning: Tuning | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.cache, self._rules, self._ports = cache, rules, ports
        self._tuning = tuning or Tuning()
        self._clock, self._now = clock, now
        self.queue = KeyQueue(clock, self._tuning.backoff)
        self._kinds = {kind.lower(): kind for kind in rules.planners}
        self._unsettled: dict[Key, tuple[int, float]] = {}  # key → generation, since when
        self._answering = asyncio.Event()
        self._answering.set()
        self._tasks: list[asyncio.Task[None]] = []
        self._probing: asyncio.Task[None] | None = None
        self._busy: set[asyncio.Task[None]] = set()
        self._stopping = False

    @property
    def bus(self) -> BusState:
        """What the bus said last."""
        return self._ports.surroundings.bus()

    # --- what arrives

    def observe(self, item: dict[str, Any], *, gone: bool = False, listed: bool = False) -> None:
        """An object as the API server sent it: from a watch, or (``listed``) from the list that it starts with."""
        change = self.cache.observe(item, gone=gone)
        if change:
            self._react(change, listed=listed)

    def replace(self, kind: str, listing: Listing, *, rewound: bool = False) -> None:
        """A complete list of one kind (see :meth:`Cache.replace`)."""
        version = int(listing.resource_version)
        for change in self.cache.replace(kind, listing.items, version, rewound=rewound):
            self._react(change, listed=True)

    def resync(self) -> None:
        """Plan everything again, after whatever is more urgent, and sweep."""
        for kind in self._rules.planners:
            for item in self.cache.all(kind):
                self.queue.add(Key.of(item), Priority.RESYNC)
        self.sweep()

    def enqueue(self, key: Key, priority: Priority = Priority.DATA) -> None:
        """Something off the cluster (a report on the bus) concerns this object."""
        self.queue.add(key, priority)

    def _react(self, change: Change, *, listed: bool) -> None:
        what, key, item = change
        if key.kind in self._rules.planners and what is not What.ECHOED:
            self.queue.add(key, _priority(change, listed))
            if what is What.VANISHED:
                self.sweep()
        if what is not What.ECHOED and (owner := self._owner(key, item)):
            self.queue.add(owner, Priority.DATA)
        if dependents := self._rules.dependents.get(key.kind):
            for other in dependents(item, self.cache):
                self.queue.add(other, Priority.DATA)

    def _owner(self, key: Key, item: Object) -> Key | None:
        """The custom resource that a child was made for, by its labels."""
        label = (item["metadata"].get("labels") or {}).get(labels.OWNER_NAME)
        if not label:
            return None
        kind, _, name = label.partition(".")
        return Key(self._kinds[kind], key.namespace, name) if kind in self._kinds else None

    def sweep(self) -> None:
        """Look for leftovers off the cluster when there is nothing more urgent."""
        if SWEEP.kind in self._rules.planners:
            self.queue.add(SWEEP, Priority.RESYNC)

    # --- the workers

    def start(self) -> None:
        """Begin to act. The caches must be complete and the Lease held."""
        self._tasks = [
            asyncio.create_task(self._work(), name=f"reconcile worker {number}")
            for number in range(self._tuning.workers)
        ]

    async def join(self) -> None:
        """Until a worker fails, which is a defect of the engine itself."""
        await asyncio.gather(*self._tasks)

    async def stop(self, grace_s: float = 10.0) -> None:
        """Take nothing new, let what is in hand finish for ``grace_s``, then cancel it."""
        self._stopping = True
        self._answering.set()
        for task in self._tasks:
            if task not in self._busy:
                task.cancel()
        if self._busy:
            await asyncio.wait(self._busy, timeout=grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        while not self._stopping:
            taken = await self.queue.get()
            self._busy.add(me)
            try:
                await self._answering.wait()
                if not self._stopping:
                    await self._handle(taken)
            finally:
                self._busy.discard(me)
                self.queue.done(taken.key)

    async def _handle(self, taken: Taken) -> None:
        key, started = taken.key, self._clock()
        token = object_in_hand.set(str(key))
        try:
            async with asyncio.timeout(self._tuning.pass_deadline_s):
                again = await self._pass(key)
        except Exception as error:  # whatever it is, the other objects go on
            result = self._failed(taken, error)
        else:
            result = "done"
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)
        finally:
            object_in_hand.reset(token)
        self._ports.meter.passed(taken, result, self._clock() - started)

    def _failed(self, taken: Taken, error: Exception) -> str:
        if isinstance(error, NotLeading):
            self.queue.add_after(taken.key, self._tuning.probe_every_s, taken.priority)
            return "not leading"
        if isinstance(error, Unreachable):
            self._wait_for_answer(error)
        delay = self.queue.retry(taken.key)
        known = isinstance(error, ApiError | TimeoutError | OSError)
        log.log(
            logging.WARNING if known else logging.ERROR,
            "pass failed, again in %.1f s: %s",
            delay,
            error if str(error) else type(error).__name__,
            exc_info=None if known else error,
        )
        return "failed"

    def _wait_for_answer(self, error: Unreachable) -> None:
        """Hold all workers until the API server answers again."""
        if self._answering.is_set() and not self._stopping:
            log.warning("waiting for the API server: %s", error)
            self._answering.clear()
            self._probing = asyncio.create_task(self._probe(), name="API server probe")

    async def _probe(self) -> None:
        while not self._stopping and not await self._ports.writer.healthy():
            await asyncio.sleep(self._tuning.probe_every_s)
        log.info("the API server answers")
        self._answering.set()

    # --- one pass

    async def _pass(self, key: Key) -> float | None:
        """Plan, perform, report; returns after how many seconds to look again."""
        planner = self._rules.planners.get(key.kind)
        if planner is None:
            return None
        desired = self.cache.get(*key)
        if desired is None or desired["metadata"].get("deletionTimestamp"):
            desired = None  # one that waits for somebody's finalizer is as good as gone: nothing is made for it
            self._unsettled.pop(key, None)
        plan = planner(desired, key, self._world())
        try:
            found = await self._ports.performer.perform(plan.actions, self._may_act) if plan.actions else ()
        except Exception as error:
            if _terminating(error):
                return None  # the namespace goes, and the object with it
            if desired is not None and _refused(error):
                await self._report(key, desired, status.refused(plan, desired, error))
            raise
        if desired is None:
            return plan.requeue_after
        self._note(desired, found)
        hold = await self._report(key, desired, plan)
        return min((delay for delay in (hold, plan.requeue_after) if delay is not None), default=None)

    def _note(self, item: Object, notes: Iterable[EventNote]) -> None:
        for note in notes:
            self._ports.recorder.note(item, note)

    def _world(self) -> Snapshot:
        around = self._ports.surroundings
        epoch = self._ports.leader.epoch
        return Snapshot(self.cache, around.bus(), self._now(), epoch, around.keys, around.settings)

    def _may_act(self) -> None:
        if not self._ports.leader.held:
            raise NotLeading

    async def _report(self, key: Key, desired: Object, plan: Plan) -> float | None:
        """Write the status if it says something new; returns for how long it is held back instead."""
        hold = self._held_back(key, desired["metadata"]["generation"], plan.settled)
        live = self.cache.get(*key)
        if plan.status is None or live is None or live["metadata"]["uid"] != desired["metadata"]["uid"]:
            return None
        completed = status.complete(plan, desired, live.get("status") or {}, self._now())
        if status.same(completed, live.get("status")):
            return None
        if hold > 0:
            return hold
        await self._write(key, status.manifest(desired, completed))
        self._note(desired, plan.events)
        return None

    def _held_back(self, key: Key, generation: int, settled: bool) -> float:
        """Seconds left of the grace in which an unsettled plan's status is not written."""
        if settled:
            self._unsettled.pop(key, None)
            return 0.0
        since = self._unsettled.get(key)
        if since is None or since[0] != generation:
            since = self._unsettled[key] = (generation, self._clock())
        return max(0.0, since[1] + self._tuning.grace_s - self._clock())

    async def _write(self, key: Key, manifest: Mapping[str, Any]) -> None:
        self._may_act()
        self.cache.expect(key, manifest["status"])
        written = None
        try:
            written = await self._ports.writer.apply_status(manifest)
        except NotFound:
            pass  # deleted meanwhile
        finally:
            echo = self.cache.settle(key, written)
        if echo:
            self._react(echo, listed=False)


def _priority(change: Change, listed: bool) -> Priority:
    if change.what is What.VANISHED or change.item["metadata"].get("deletionTimestamp"):
        return Priority.DELETE
    return Priority.RESYNC if listed or change.what is What.REPORTED else Priority.EDIT


def _terminating(error: Exception) -> bool:
    causes = error.details.get("causes") or () if isinstance(error, ApiError) else ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


def _refused(error: Exception) -> bool:
    """Whether somebody has to change something before a repetition can succeed."""
    if isinstance(error, ApiError):
        return isinstance(error, BadRequest | Forbidden | Invalid)
    return getattr(error, "transient", True) is False
