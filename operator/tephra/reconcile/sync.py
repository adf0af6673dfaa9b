"""What is watched, the complete lists that the watches start from, and the repair of what they lose.

kopf delivers changes but no end-of-list mark, and after an expired watch (410) it does not tell what vanished
meanwhile. So the engine lists for itself: everything once before it acts, a kind again soon after kopf has listed
it anew, and everything at each resync. A resync also finds out whether a watch has gone deaf: an object that was
already newer in the list than in the cache some seconds before is a change that no event announced.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

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
        self.complete = False
        self.deaf: set[str] = set()
        """Kinds whose watch missed something, by the last look."""

    async def seed(self) -> None:
        """List everything; waits for CRDs that are not there yet, and for an API server that does not answer."""
        for watch in self._watches.values():
            listing = await self._list_at_last(watch)
            self._engine.replace(watch.kind, listing.items)
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

    async def run(self) -> None:
        """Repair for ever."""
        resync_at = self._clock() + RESYNC_S * random.uniform(0.9, 1.1)
        while True:
            await asyncio.sleep(1.0 if self._relisted else max(0.0, min(RETRY_S, resync_at - self._clock())))
            now = self._clock()
            try:
                for kind in [kind for kind, due in self._relisted.items() if due <= now]:
                    self._engine.replace(kind, (await self._list(self._watches[kind])).items)
                    del self._relisted[kind]
                if now >= resync_at:
                    await self.resync()
                    resync_at = self._clock() + RESYNC_S * random.uniform(0.9, 1.1)
            except ApiError as error:
                log.warning("resync put off: %s", error)
                await asyncio.sleep(RETRY_S)

    async def resync(self) -> None:
        """List every kind, see what its watch missed, repair it, and plan everything again."""
        for watch in self._watches.values():
            before = await self._list(watch)
            await asyncio.sleep(SETTLE_S)
            missed = self._missed(watch.kind, before)
            self.deaf = self.deaf | {watch.kind} if missed else self.deaf - {watch.kind}
            if missed:
                log.error("the watch of %s missed %d changes: %s", watch.kind, len(missed), ", ".join(missed[:5]))
            self._engine.replace(watch.kind, (await self._list(watch)).items)
        self._engine.resync()

    def _missed(self, kind: str, listing: Listing) -> list[str]:
        """Names of listed objects that the cache knows only in an older state."""
        missed = []
        for item in listing.items:
            meta = item["metadata"]
            known = self._engine.cache.get(kind, meta.get("namespace") or "", meta["name"])
            if known is not None and int(known["metadata"]["resourceVersion"]) < int(meta["resourceVersion"]):
                missed.append(meta["name"])
        return missed
