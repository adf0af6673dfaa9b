"""Events: few and de-duplicated, whatever the engine notes."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from tephra.kube.errors import AlreadyExists, Invalid
from tephra.plan.base import EventNote
from tephra.reconcile.events import BURST, REFILL_S, REPEAT_S, EventRecorder, manifest
from tests.support import virtual_time

SILO = {
    "apiVersion": "tephra.dev/v1alpha1",
    "kind": "VSilo",
    "metadata": {"namespace": "a", "name": "home", "uid": "u1"},
}
BAD = EventNote("ParamsInvalid", "spec.params.topics: want perEntity or seed", "Warning")


class Api:
    """Remembers Events by name."""

    def __init__(self) -> None:
        self.created: list[Mapping[str, Any]] = []
        self.series: list[Mapping[str, Any]] = []
        self.expired = False

    async def create(self, event: Mapping[str, Any]) -> dict[str, Any]:
        if not self.expired and any(each["metadata"] == event["metadata"] for each in self.created):
            raise AlreadyExists("create Event", "exists")
        self.created.append(event)
        return dict(event)

    async def apply(self, event: Mapping[str, Any]) -> dict[str, Any]:
        if self.expired:
            raise Invalid("apply Event", "eventTime: required")
        self.series.append(event)
        return dict(event)


async def recorder(api: Api) -> EventRecorder:
    made = EventRecorder(api, "operator-0", clock=asyncio.get_running_loop().time)
    api.task = asyncio.create_task(made.run())  # type: ignore[attr-defined]  # kept alive with its server
    return made


def test_a_storm_of_one_failure_is_one_event_and_then_a_series() -> None:
    async def scenario() -> Api:
        api = Api()
        events = await recorder(api)
        for _ in range(1000):
            events.note(SILO, BAD)
        await asyncio.sleep(REPEAT_S)
        events.note(SILO, BAD)
        await asyncio.sleep(1)
        return api

    api = virtual_time.run(scenario())
    assert len(api.created) == 1
    assert [each["series"]["count"] for each in api.series] == [1001]
    assert api.series[0]["metadata"] == api.created[0]["metadata"]


def test_an_object_that_says_ever_new_things_is_limited() -> None:
    async def scenario() -> Api:
        api = Api()
        events = await recorder(api)
        for number in range(1000):
            events.note(SILO, EventNote("Failed", f"attempt {number}", "Warning"))
        await asyncio.sleep(REFILL_S)
        for number in range(1000):
            events.note(SILO, EventNote("Failed", f"later attempt {number}", "Warning"))
        await asyncio.sleep(1)
        return api

    assert len(virtual_time.run(scenario()).created) == BURST + 1


def test_good_news_are_told_once() -> None:
    async def scenario() -> Api:
        api = Api()
        events = await recorder(api)
        for _ in range(3):
            events.note(SILO, EventNote("Ready", "works"))
            await asyncio.sleep(2 * REPEAT_S)
        return api

    api = virtual_time.run(scenario())
    assert (len(api.created), len(api.series)) == (1, 0)


@pytest.mark.parametrize("expired", [False, True])
def test_what_an_earlier_life_told_is_not_told_again_while_it_lasts(expired: bool) -> None:
    async def scenario() -> Api:
        api = Api()
        (await recorder(api)).note(SILO, BAD)
        await asyncio.sleep(1)
        api.expired = expired
        (await recorder(api)).note(SILO, BAD)
        await asyncio.sleep(1)
        return api

    assert len(virtual_time.run(scenario()).created) == (2 if expired else 1)


def test_the_event_regards_the_object() -> None:
    event = manifest(SILO, BAD, "operator-0", 0.0)
    assert event["regarding"] == {
        "apiVersion": "tephra.dev/v1alpha1",
        "kind": "VSilo",
        "namespace": "a",
        "name": "home",
        "uid": "u1",
    }
    assert (event["reason"], event["note"], event["type"]) == (BAD.reason, BAD.message, "Warning")
    assert event["eventTime"] == "1970-01-01T00:00:00.000000Z"
