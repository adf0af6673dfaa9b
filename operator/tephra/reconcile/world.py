"""The world as a planner sees it: a view of the cache, the bus and the clock at one moment.

Planners do not await, so nothing changes under them: a snapshot costs one small object, no copies. They read only.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from tephra.plan.base import BusState, Keys, Object, Settings
from tephra.reconcile.cache import Cache


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What planners see besides the cluster. ``bus`` gives what it said last."""

    bus: Callable[[], BusState]
    keys: Keys
    settings: Settings


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Implements :class:`tephra.plan.base.World`."""

    cache: Cache
    bus: BusState
    now: float
    epoch: int
    keys: Keys
    settings: Settings

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self.cache.get(kind, namespace, name)

    def all(self, kind: str, namespace: str | None = None) -> Collection[Object]:
        return self.cache.all(kind, namespace)

    def children(self, owner_uid: str, kind: str | None = None) -> Collection[Object]:
        return self.cache.children(owner_uid, kind)

    def indexed(self, index: str, value: str) -> Collection[Object]:
        return self.cache.indexed(index, value)
