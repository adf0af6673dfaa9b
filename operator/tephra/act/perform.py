"""Performs the actions of a plan: the one place where the operator changes the cluster, and the bus through it.

An action that would change nothing is not sent, so a steady object causes no request:

* an object that the operator watches is compared with the cache: applied before with the same content (the hash in
  annotation ``tephra.dev/applied``; that is what notices a field that is *left out* now), and still holding it (the
  generation that our apply left, or else every field of the manifest with its value);
* others (Secrets, ConfigMaps, NetworkPolicies: RBAC lets the operator read them only by name) are compared with a
  ``get``, which is remembered for :data:`VERIFY_S`.

Order: what a pod needs comes before the Deployment that makes pods, deletions last; the actions on the bus keep the
plan's order. Everything else runs concurrently, because a user waits for it. All actions are tried even when one
fails. Neighbours: :mod:`tephra.reconcile.loop` calls, :mod:`.bus` does the bus's part, :mod:`tephra.kube` the API's.
"""

import asyncio
import base64
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any, Protocol

from tephra.api import labels
from tephra.bus.roles import Role
from tephra.kube.errors import Conflict, NotFound
from tephra.kube.resources import Object
from tephra.plan.base import (
    Action,
    Apply,
    BusAccess,
    BusForget,
    BusPublish,
    Delete,
    EventNote,
    Key,
    View,
    fingerprint,
)
from tephra.plan.base import Object as Frozen

log = logging.getLogger(__name__)

WATCHED = frozenset({"Deployment", "Service", "VThing"})
"""Kinds of children whose live state the cache holds."""
WORKLOADS = frozenset({"Deployment"})
VERIFY_S = 540.0
"""Seconds for which an object outside the cache is taken to be as it was; just below the engine's resync."""


class Kube(Protocol):
    """What the performer needs of :class:`tephra.kube.client.Client`."""

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object: ...
    async def apply(self, manifest: Frozen) -> Object: ...
    async def delete(self, kind: str, name: str, namespace: str | None = None, *, uid: str | None = None) -> None: ...


class Bus(Protocol):
    """What the performer needs of :class:`tephra.act.bus.BusControl`."""

    async def publish(self, topic: str, payload: bytes | None, *, retain: bool) -> None: ...
    async def grant(self, identity: str, password: str, role: Role) -> None: ...
    async def forget(self, identity: str) -> None: ...


class NotOurs(Exception):
    """A plan asked to delete something that the operator did not create."""

    transient = False


@dataclass(frozen=True, slots=True)
class _Known:
    """What we know of an object: the content applied last, and how it was left."""

    content: str
    generation: int | None
    checked_at: float


class Performer:
    """``observe`` takes the API server's answer for watched kinds into the cache, ahead of the watch."""

    def __init__(
        self,
        kube: Kube,
        bus: Bus,
        view: View,
        observe: Callable[[Object], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube, self._bus, self._view, self._observe, self._clock = kube, bus, view, observe, clock
        self._known: OrderedDict[Key, _Known] = OrderedDict()

    async def perform(self, actions: Sequence[Action], may_act: Callable[[], None]) -> tuple[EventNote, ...]:
        """Do them all; returns what is worth an Event. Raises the first failure, rather one that will not pass.

        ``may_act`` is called before each action and raises when acting is not allowed any more.
        """
        notes: list[EventNote] = []
        lanes = await asyncio.gather(self._on_bus(actions, may_act), self._in_cluster(actions, may_act, notes))
        if failures := [failure for lane in lanes for failure in lane]:
            raise min(failures, key=lambda failure: bool(getattr(failure, "transient", False)))
        return tuple(notes)

    async def _on_bus(self, actions: Sequence[Action], may_act: Callable[[], None]) -> list[Exception]:
        """In order; what comes after a failure may depend on it and is left for the next pass."""
        try:
            for action in actions:
                may_act()
                match action:
                    case BusPublish(topic, payload, retain):
                        await self._bus.publish(topic, payload, retain=retain)
                    case BusAccess(identity, password, role):
                        await self._bus.grant(identity, password, role)
                    case BusForget(identity):
                        await self._bus.forget(identity)
        except Exception as failure:
            return [failure]
        return []

    async def _in_cluster(
        self, actions: Sequence[Action], may_act: Callable[[], None], notes: list[EventNote]
    ) -> list[Exception]:
        applies = [action.manifest for action in actions if isinstance(action, Apply)]
        stages = (
            [partial(self._apply, each, notes) for each in applies if each["kind"] not in WORKLOADS],
            [partial(self._apply, each, notes) for each in applies if each["kind"] in WORKLOADS],
            [partial(self._delete, action) for action in actions if isinstance(action, Delete)],
        )
        return [failure for stage in stages for failure in await _gather(stage, may_act)]

    async def _apply(self, planned: Frozen, notes: list[EventNote]) -> None:
        key, content, manifest = Key.of(planned), fingerprint(planned), _stored(planned)
        if self._as_last_seen(key, content):
            return
        live = await self._live(key)
        applied_before = live is not None and _annotation(live) == content
        if live is not None and applied_before and self._holds(manifest, live):
            self._remember(key, content, live)
            return
        if applied_before:
            notes.append(_reverted(key))
        marked = {**manifest, "metadata": _marked(manifest["metadata"], content)}
        made = await self._kube.apply(marked)
        self._remember(key, content, made)
        if key.kind in WATCHED:
            self._observe(made)

    def _as_last_seen(self, key: Key, content: str) -> bool:
        if key.kind in WATCHED:
            return False
        known = self._known.get(key)
        return known is not None and known.content == content and self._clock() - known.checked_at < VERIFY_S

    async def _live(self, key: Key) -> Frozen | None:
        if key.kind in WATCHED:
            return self._view.get(*key)
        try:
            return await self._kube.get(key.kind, key.name, key.namespace or None)
        except NotFound:
            return None

    def _holds(self, manifest: Object, live: Frozen) -> bool:
        known, generation = self._known.get(Key.of(manifest)), live["metadata"].get("generation")
        if known is not None and generation is not None and known.generation == generation:
            return True
        return holds(manifest, live)

    def _remember(self, key: Key, content: str, live: Frozen) -> None:
        now = self._clock()
        self._known[key] = _Known(content, live["metadata"].get("generation"), now)
        self._known.move_to_end(key)
        while now - next(iter(self._known.values())).checked_at > 3 * VERIFY_S:  # nobody plans it any more
            self._known.popitem(last=False)

    async def _delete(self, action: Delete) -> None:
        key = action.key
        live = self._view.get(*key)
        if live is not None and (live["metadata"].get("labels") or {}).get(labels.MANAGED_BY) != labels.TEPHRA:
            raise NotOurs(f"{key} is not labelled {labels.MANAGED_BY}={labels.TEPHRA}; it is left alone")
        self._known.pop(key, None)
        try:
            await self._kube.delete(key.kind, key.name, key.namespace or None, uid=action.uid)
        except (NotFound, Conflict):
            log.debug("%s of uid %s is gone already", key, action.uid)


def holds(wanted: Any, live: Any) -> bool:
    """Whether ``live`` holds every field of ``wanted`` with its value, as the API server stores it.

    What is empty, false or zero is as good as absent; quantities are compared by amount (``1000m`` is ``1``).
    """
    if isinstance(wanted, dict):
        return (isinstance(live, dict) or not live) and all(holds(v, (live or {}).get(k)) for k, v in wanted.items())
    if isinstance(wanted, list):
        live = live or []
        return len(wanted) == len(live) and all(map(holds, wanted, live))
    if wanted == live or (not wanted and not live):
        return True
    amount = _quantity(wanted)
    return amount is not None and amount == _quantity(live)


_SUFFIXES = {
    **{suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    "m": Decimal("1e-3"),
    "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}


def _quantity(text: Any) -> Decimal | None:
    """The amount of a Kubernetes resource quantity, None if it is none."""
    if not isinstance(text, str):
        return None
    suffix = next((s for s in _SUFFIXES if text.endswith(s)), "")
    try:
        return Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return None


def _stored(manifest: Frozen) -> Object:
    """The manifest as the API server keeps it: a Secret's ``stringData`` (write-only) becomes ``data``."""
    if "stringData" not in manifest:
        return dict(manifest)
    texts = {key: base64.b64encode(text.encode()).decode() for key, text in manifest["stringData"].items()}
    rest = {key: value for key, value in manifest.items() if key != "stringData"}
    return {**rest, "data": {**manifest.get("data", {}), **texts}}


def _annotation(live: Frozen) -> str | None:
    found: str | None = (live["metadata"].get("annotations") or {}).get(labels.APPLIED)
    return found


def _marked(metadata: Object, content: str) -> Object:
    return {**metadata, "annotations": {**metadata.get("annotations", {}), labels.APPLIED: content}}


def _reverted(key: Key) -> EventNote:
    message = f"somebody changed fields of {key} that the operator sets; they are as they were again"
    return EventNote("Reverted", message, "Warning", "Apply")


async def _gather(work: Iterable[Callable[[], Awaitable[None]]], may_act: Callable[[], None]) -> list[Exception]:
    """Run concurrently to the end; the failures."""

    async def failure_of(step: Callable[[], Awaitable[None]]) -> Exception | None:
        try:
            may_act()
            await step()
        except Exception as failure:
            return failure
        return None

    return [failure for failure in await asyncio.gather(*map(failure_of, work)) if failure]
