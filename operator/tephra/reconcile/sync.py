"""What is watched, the complete lists that the watches start from, and the repair of what they lose.

kopf delivers changes but no end-of-list mark, and after an expired watch (410) it does not tell what vanished
meanwhile. So the engine lists for itself: everything once before it acts, a kind again soon after kopf has listed
it anew, and everything at each resync. A resync also finds out whether a watch has gone deaf: what a list showed and
the cache still lacks some seconds later is a change that no event announced. And a list that is older than what was
known before it was asked for means that etcd was restored from a backup.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from tephra.api import labels
from tephra.kube.client import Listing, Selection
from tephra.kube.errors import ApiError, NotFound
from tephra.reconcile.loop import Engine

log = logging.getLogger(__name__)

RESYNC_S = 600.0
SETTLE_S = 5.0  # after kopf listed a kind; also what a watch may take to deliver what a list already shows
RETRY_S = 2.0


class Watch(NamedTuple):
    """One watched kind; ``labels`` is a server-side selector."""

    kind: str
    labels: str = ""


_CHILDREN = f"{labels.MANAGED_BY}={labels.TEPHRA}"
OWN_KINDS = ("Flavour", "ThingVisorType", "ThingVisor", "VThing", "VSilo")
WATCHES: tuple[Watch, ...] = (
    *(Watch(kind) for kind in OWN_KINDS),
    Watch("Deployment", _CHILDREN),
    Watch("Service", _CHILDREN),
    Watch("Pod", _CHILDREN),  # for reasons such as ErrImagePull, which a Deployment does not tell
    Watch("Node"),
    Watch("Namespace"),  # their labels decide access
)


class Lister(Protocol):
    """The part of :class:`tephra.kube.client.Client` that is used here."""

    async def list(self, kind: str, selection: Selection = ...) -> Listing: ...


class Sync:
    """Keeps the engine's cache complete."""

    def __init__(
        self,
        engine: Engine,
        lister: Lister,
        watches: tuple[Watch, ...] = WATCHES,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._lister, self._clock = engine, lister, clock
        self._watches = {watch.kind: watch for watch in watches}
        self._relisted: dict[str, float] = {}  # kind → when it is to be listed again
        self._hint = asyncio.Event()
        self.complete = False
        self.deaf: set[str] = set()
        """Kinds whose watch missed something, by the last look."""

    async def seed(self) -> None:
        """List everything; waits for CRDs that are not there yet, and for an API server that does not answer."""
        for watch in self._watches.values():
            self._engine.replace(watch.kind, await self._list_at_last(watch))
        self.complete = True

    async def _list_at_last(self, watch: Watch) -> Listing:
        while True:
            try:
                return await self._list(watch)
            except ApiError as error:
                if not (error.transient or isinstance(error, NotFound)):
                    raise
                log.warning("cannot start yet: %s", error)
            await asyncio.sleep(RETRY_S)

    async def _list(self, watch: Watch) -> Listing:
        return await self._lister.list(watch.kind, Selection(labels=watch.labels))

    def listed_anew(self, kind: str) -> None:
        """kopf delivers a new list of this kind: what vanished before it will not be announced."""
        self._relisted[kind] = self._clock() + SETTLE_S
        self._hint.set()

    async def run(self) -> None:
        """Repair for ever."""
        resync_at = self._next_resync()
        while True:
            await self._until(min((resync_at, *self._relisted.values())))
            now = self._clock()
            try:
                for kind in [kind for kind, due in self._relisted.items() if due <= now]:
                    self._engine.replace(kind, await self._list_again(self._watches[kind]))
                    del self._relisted[kind]
                if now >= resync_at:
                    await self.resync()
                    resync_at = self._next_resync()
            except ApiError as error:
                log.warning("resync put off: %s", error)
                await asyncio.sleep(RETRY_S)

    def _next_resync(self) -> float:
        return self._clock() + RESYNC_S * random.uniform(0.9, 1.1)

    async def _until(self, due: float) -> None:
        """Sleep until then, or until something comes up earlier."""
        self._hint.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - self._clock())):
                await self._hint.wait()

    async def resync(self) -> None:
        """List every kind, see what its watch missed, repair it, and plan everything again."""
        found = {kind: await self._list_again(watch) for kind, watch in self._watches.items()}
        await asyncio.sleep(SETTLE_S)
        self.deaf = {kind for kind, listing in found.items() if self._missed(kind, listing)}
        for kind, listing in found.items():
            self._engine.replace(kind, listing)
        self._engine.resync()

    async def _list_again(self, watch: Watch) -> Listing:
        """List; a list that is older than what was known before it was asked for is believed at once."""
        newest = self._engine.cache.newest(watch.kind)
        listing = await self._list(watch)
        if int(listing.resource_version) < newest:
            log.error("%s: the API server is back at an earlier state; believing it", watch.kind)
            self._engine.replace(watch.kind, listing, rewound=True)
        return listing

    def _missed(self, kind: str, listing: Listing) -> bool:
        """Whether the cache still lacks a change that the list showed."""
        missed = [item for item in listing.items if not self._knows(kind, item["metadata"])]
        if missed:
            names = ", ".join(item["metadata"]["name"] for item in missed[:5])
            log.error("the watch of %s missed %d changes: %s", kind, len(missed), names)
        return bool(missed)

    def _knows(self, kind: str, meta: Mapping[str, Any]) -> bool:
        """Whether this version, or a later one, was delivered (an object that is not there was deleted since)."""
        known = self._engine.cache.get(kind, meta.get("namespace") or "", meta["name"])
        return known is None or int(known["metadata"]["resourceVersion"]) >= int(meta["resourceVersion"])
