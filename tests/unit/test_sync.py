"""Complete lists and the repair of what watches lose; in virtual time, with an API server in memory."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tephra.kube.client import EVERYTHING, Listing, Selection
from tephra.kube.errors import NotFound, Unreachable
from tephra.plan.base import BusState, Key, Keys, Object, Plan, Settings, World
from tephra.reconcile.cache import Cache
from tephra.reconcile.loop import Engine, Ports, Rules
from tephra.reconcile.sync import RESYNC_S, SETTLE_S, Sync, Watch
from tephra.reconcile.world import Surroundings
from tests.support import virtual_time


class Bed:
    """An API server of VSilos, an engine that never acts, and what keeps it complete."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.version = 100
        self.trouble: list[Exception] = []
        self.lists = 0
        nothing: Any = None
        ports = Ports(nothing, nothing, nothing, nothing, nothing, Surroundings(BusState, _no_keys(), Settings()))
        clock = asyncio.get_running_loop().time
        self.engine = Engine(Cache(), Rules({"VSilo": _plan}, {}), ports, clock=clock)
        self.sync = Sync(self.engine, self, (Watch("VSilo", "a=b"),), clock=clock)

    async def list(self, kind: str, selection: Selection = EVERYTHING) -> Listing:
        self.lists += 1
        assert selection.labels == "a=b"
        if self.trouble:
            raise self.trouble.pop(0)
        return Listing([_copy(item) for item in self.items.values()], str(self.version))

    def put(self, name: str, *, announced: bool = True, **meta: Any) -> None:
        self.version += 1
        meta = {"namespace": "a", "name": name, "uid": name, "generation": 1, **meta}
        self.items[name] = {"kind": "VSilo", "metadata": {**meta, "resourceVersion": str(self.version)}, "spec": {}}
        if announced:
            self.engine.observe(_copy(self.items[name]))

    def known(self) -> set[str]:
        return {item["metadata"]["name"] for item in self.engine.cache.all("VSilo")}

    def queued(self) -> set[str]:
        """Empties the queue."""
        found = set()
        while taken := self.engine.queue.pop():
            found.add(taken.key.name)
            self.engine.queue.done(taken.key)
        return found


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "metadata": dict(item["metadata"])}


def _plan(desired: Object | None, key: Key, world: World) -> Plan:
    return Plan()


def _no_keys() -> Keys:
    return None  # type: ignore[return-value]  # nothing is planned here


def run(scenario: Callable[[Bed], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await scenario(Bed())

    virtual_time.run(main())


def test_nothing_is_complete_before_everything_is_listed() -> None:
    async def scenario(bed: Bed) -> None:
        bed.put("home", announced=False)
        bed.trouble = [NotFound("list VSilo", "no such kind: the CRDs come later"), Unreachable("list VSilo", "away")]
        seeding = asyncio.create_task(bed.sync.seed())
        await asyncio.sleep(1)
        assert not bed.sync.complete
        await seeding
        assert bed.sync.complete
        assert bed.known() == bed.queued() == {"home"}

    run(scenario)


def test_what_vanished_before_kopf_listed_anew_is_found_soon() -> None:
    async def scenario(bed: Bed) -> None:
        bed.put("home")
        bed.put("gone")
        repairing = asyncio.create_task(bed.sync.run())
        await asyncio.sleep(10)
        assert bed.lists == 0
        del bed.items["gone"]
        bed.version += 1
        bed.sync.listed_anew("VSilo")
        await asyncio.sleep(SETTLE_S + 1)
        assert (bed.known(), bed.lists) == ({"home"}, 1)
        repairing.cancel()

    run(scenario)


def test_every_ten_minutes_everything_is_listed_and_planned_again() -> None:
    async def scenario(bed: Bed) -> None:
        bed.put("home")
        bed.queued()
        repairing = asyncio.create_task(bed.sync.run())
        bed.trouble = [Unreachable("list VSilo", "away for a moment")]
        await asyncio.sleep(1.1 * RESYNC_S + SETTLE_S + 5)
        assert bed.queued() == {"home"}
        assert bed.sync.deaf == set()
        repairing.cancel()

    run(scenario)


def test_a_watch_that_misses_changes_is_deaf_until_it_hears_again() -> None:
    async def scenario(bed: Bed) -> None:
        bed.put("home")
        bed.put("home", announced=False, generation=2)
        await bed.sync.resync()
        assert bed.sync.deaf == {"VSilo"}
        await bed.sync.resync()
        assert bed.sync.deaf == set()

    run(scenario)


def test_a_change_that_comes_while_the_list_travels_is_not_missed() -> None:
    async def scenario(bed: Bed) -> None:
        bed.put("home")
        bed.put("home", announced=False, generation=2)
        late = _copy(bed.items["home"])
        asyncio.get_running_loop().call_later(SETTLE_S / 2, bed.engine.observe, late)
        await bed.sync.resync()
        assert bed.sync.deaf == set()

    run(scenario)


def test_after_a_restored_backup_the_list_is_believed() -> None:
    async def scenario(bed: Bed) -> None:
        bed.put("old")
        before = dict(bed.items)
        bed.put("made after the backup")
        bed.put("old", generation=5)
        bed.items, bed.version = before, 101
        bed.queued()
        await bed.sync.resync()
        assert bed.known() == {"old"}
        kept = bed.engine.cache.get("VSilo", "a", "old")
        assert kept is not None
        assert kept["metadata"]["generation"] == 1

    run(scenario)
