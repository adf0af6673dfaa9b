"""Leadership: one holder at a time, take-over after silence, an epoch that only grows. In virtual time."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

import pytest

from tephra.kube.client import Client
from tephra.kube.errors import AlreadyExists, Conflict, NotFound, Unreachable
from tephra.kube.lease import Lease, Timing
from tests.support import virtual_time

TIMING = Timing()


class Api:
    """One Lease with optimistic concurrency."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] | None = None
        self.version = 0
        self.reachable = True

    def lease(self, identity: str) -> Lease:
        clock = asyncio.get_running_loop().time
        return Lease(cast(Client, self), namespace="n", name="l", identity=identity, clock=clock)

    async def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        self._answer()
        if self.stored is None:
            raise NotFound("get Lease", "none")
        return self.stored

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self._answer()
        if self.stored is not None:
            raise AlreadyExists("create Lease", "exists")
        return self._store(manifest)

    async def replace(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self._answer()
        assert self.stored is not None
        if manifest["metadata"]["resourceVersion"] != self.stored["metadata"]["resourceVersion"]:
            raise Conflict("update Lease", "changed")
        return self._store(manifest)

    def _answer(self) -> None:
        if not self.reachable:
            raise Unreachable("Lease", "no answer")

    def _store(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self.version)}
        self.stored = {**manifest, "metadata": metadata}
        return self.stored


def run(scenario: Callable[[Api], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await scenario(Api())

    virtual_time.run(main())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_first_leads_and_the_second_waits_while_it_renews() -> None:
    async def scenario(api: Api) -> None:
        first, second = api.lease("first"), api.lease("second")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(300)
        assert first.held
        assert not second.held
        assert not waiting.done()
        for task in (holding, waiting):
            task.cancel()

    run(scenario)


def test_after_a_crash_another_takes_over_within_fifteen_seconds_under_a_higher_epoch() -> None:
    async def scenario(api: Api) -> None:
        first, second = api.lease("first"), api.lease("second")
        epoch = await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(1)  # the first one never renews
        assert await waiting == epoch + 1
        assert now() < 15
        assert not first.held

    run(scenario)


def test_the_old_holder_stops_by_itself_before_another_can_start() -> None:
    async def scenario(api: Api) -> None:
        first = api.lease("first")
        await first.acquire()
        api.reachable = False
        await first.hold()
        assert now() < TIMING.duration_s
        assert not first.held

    run(scenario)


def test_a_frozen_holder_knows_when_it_wakes() -> None:
    async def scenario(api: Api) -> None:
        first = api.lease("first")
        await first.acquire()
        await asyncio.sleep(TIMING.give_up_s)
        assert not first.held, "without having been told by anybody"

    run(scenario)


def test_a_short_outage_is_survived() -> None:
    async def scenario(api: Api) -> None:
        first = api.lease("first")
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        await asyncio.sleep(10)
        api.reachable = False
        await asyncio.sleep(4)
        api.reachable = True
        await asyncio.sleep(60)
        assert first.held
        holding.cancel()

    run(scenario)


def test_a_released_lease_is_taken_at_the_next_try() -> None:
    async def scenario(api: Api) -> None:
        first, second = api.lease("first"), api.lease("second")
        epoch = await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(1)
        await first.release()
        assert not first.held
        assert await waiting == epoch + 1
        assert now() <= 1 + TIMING.renew_every_s

    run(scenario)


def test_a_release_while_a_renewal_is_under_way_still_releases() -> None:
    async def scenario(api: Api) -> None:
        first = api.lease("first")
        await first.acquire()
        assert api.stored
        api._store(api.stored)  # the renewal arrived, its answer did not
        await first.release()
        assert api.stored["spec"]["holderIdentity"] == ""
        await first.hold()
        assert api.stored["spec"]["holderIdentity"] == ""
        assert not first.held

    run(scenario)


def test_a_lease_made_again_counts_on_beyond_the_deleted_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever fences by epoch off the cluster still knows the last holder of the deleted one."""

    async def scenario(api: Api) -> None:
        epochs = [await api.lease("again").acquire() for _ in range(5)]
        api.stored = None
        later = time.time() + 60
        monkeypatch.setattr(time, "time", lambda: later)
        assert await api.lease("another").acquire() > max(epochs)

    run(scenario)


def test_a_restarted_process_takes_its_own_lease_back_at_once_under_a_new_epoch() -> None:
    async def scenario(api: Api) -> None:
        epoch = await api.lease("pod-0").acquire()
        assert await api.lease("pod-0").acquire() == epoch + 1
        assert now() == 0

    run(scenario)


def test_of_two_that_try_at_once_one_leads() -> None:
    async def scenario(api: Api) -> None:
        leases = [api.lease(f"pod-{number}") for number in range(5)]
        tasks = [asyncio.create_task(lease.acquire()) for lease in leases]
        await asyncio.sleep(1)
        assert sum(lease.held for lease in leases) == 1
        for task in tasks:
            task.cancel()

    run(scenario)


def test_whoever_lost_to_another_stops_at_its_next_renewal() -> None:
    async def scenario(api: Api) -> None:
        first = api.lease("first")
        await first.acquire()
        assert api.stored
        api._store({**api.stored, "spec": {**api.stored["spec"], "holderIdentity": "usurper"}})
        await first.hold()
        assert now() <= TIMING.renew_every_s

    run(scenario)
