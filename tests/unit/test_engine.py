"""The engine in virtual time: an in-memory API server echoes status writes, an in-memory performer does actions."""

import asyncio
import copy
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from tephra.api.conditions import Reason, Type
from tephra.kube.errors import Forbidden, NotFound, Unreachable
from tephra.plan.base import (
    Action,
    Apply,
    BusState,
    EventNote,
    Key,
    Keys,
    Object,
    Plan,
    Settings,
    World,
)
from tephra.reconcile.cache import Cache
from tephra.reconcile.loop import SWEEP, Engine, Ports, Rules, Tuning
from tephra.reconcile.queue import Backoff, Taken
from tephra.reconcile.world import Surroundings
from tests.support import virtual_time

KEY = Key("VSilo", "a", "home")
PERMITTED = {"type": Type.READY, "status": "True", "reason": Reason.READY, "message": "works"}


class Bed:
    """The engine with everything around it in memory."""

    def __init__(self, **tuning: Any) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.version = 0
        self.held, self.epoch = True, 7
        self.done: list[Action] = []
        self.written: list[tuple[float, Any]] = []
        self.notes: list[EventNote] = []
        self.results: list[tuple[Key, str]] = []
        self.failures: list[Exception] = []
        self.answering = True
        self.status_failures: list[Exception] = []
        self.echo = True
        self.plans: list[Key] = []
        self.decide: Callable[[Object | None, Key, World], Plan] = lambda desired, key, world: Plan(
            status={"conditions": [PERMITTED]}
        )
        self.loop = asyncio.get_running_loop()
        around = Surroundings(BusState, _no_keys(), Settings())
        ports = Ports(self, self, self, self, self, around)
        planners = {"VSilo": self.plan, "VThing": self.plan, SWEEP.kind: self.plan}
        rules = Rules(planners, {"Flavour": lambda item, view: [KEY]})
        settings = Tuning(backoff=Backoff(first=1.0, cap=30.0), **tuning)
        self.engine = Engine(Cache(), rules, ports, settings, clock=self.loop.time, now=self.loop.time)

    def plan(self, desired: Object | None, key: Key, world: World) -> Plan:
        if key == SWEEP:
            return Plan()
        self.plans.append(key)
        return self.decide(desired, key, world)

    # --- the ports

    async def perform(self, actions: Sequence[Action], may_act: Callable[[], None]) -> tuple[EventNote, ...]:
        for action in actions:
            may_act()
            await asyncio.sleep(0.01)
            if self.failures:
                raise self.failures.pop(0)
            self.done.append(action)
        return ()

    async def apply_status(self, manifest: Any) -> dict[str, Any]:
        await asyncio.sleep(0.01)
        if self.status_failures:
            raise self.status_failures.pop(0)
        self.written.append((self.loop.time(), manifest["status"]))
        key = Key.of(manifest)
        if key not in self.objects:
            raise NotFound(str(key), "not found")
        item = {**self.objects[key], "status": copy.deepcopy(manifest["status"])}
        return self.send(item) if self.echo else item

    async def healthy(self) -> bool:
        return self.answering

    def note(self, item: Object, note: EventNote) -> None:
        self.notes.append(note)

    def passed(self, taken: Taken, result: str, seconds: float) -> None:
        self.results.append((taken.key, result))

    # --- the API server

    def send(self, item: dict[str, Any], **how: bool) -> dict[str, Any]:
        """Store an object under the next version and announce it."""
        self.version += 1
        item = copy.deepcopy(item)
        item["metadata"]["resourceVersion"] = str(self.version)
        if how.get("gone"):
            self.objects.pop(Key.of(item), None)
        else:
            self.objects[Key.of(item)] = item
        self.loop.call_later(0.005, lambda: self.engine.observe(copy.deepcopy(item), **how))
        return copy.deepcopy(item)

    def edit(self, generation: int, **meta: Any) -> None:
        item = self.objects.get(KEY) or silo()
        self.send({**item, "metadata": {**item["metadata"], "generation": generation, **meta}})

    @property
    def status(self) -> Any:
        return self.objects[KEY]["status"]


def _no_keys() -> Keys:
    return None  # type: ignore[return-value]  # these plans derive no credentials


def silo(name: str = "home") -> dict[str, Any]:
    meta = {"namespace": "a", "name": name, "uid": f"uid-{name}", "generation": 1}
    return {"apiVersion": "tephra.dev/v1alpha1", "kind": "VSilo", "metadata": meta, "spec": {}}


def run(scenario: Callable[[Bed], Coroutine[Any, Any, None]], **tuning: Any) -> Bed:
    """Run a scenario with a started engine and stop it."""

    async def main() -> Bed:
        bed = Bed(**tuning)
        bed.engine.start()
        await scenario(bed)
        await bed.engine.stop()
        return bed

    return virtual_time.run(main())


async def settle(seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds)  # virtual


def test_creation_and_edit_cost_one_write_each_and_deletion_none() -> None:
    async def scenario(bed: Bed) -> None:
        bed.edit(1)
        await settle()
        assert len(bed.written) == 1
        assert bed.status["observedGeneration"] == 1
        bed.edit(2)
        await settle()
        assert len(bed.written) == 2
        bed.send(bed.objects[KEY], gone=True)
        await settle()

    bed = run(scenario)
    assert len(bed.written) == 2
    assert bed.plans == [KEY, KEY, KEY], "echoes of our own writes plan nothing"


def test_a_steady_object_is_planned_at_resync_and_nothing_is_written() -> None:
    async def scenario(bed: Bed) -> None:
        bed.edit(1)
        await settle()
        for _ in range(5):
            bed.engine.resync()
            await settle()

    bed = run(scenario)
    assert len(bed.plans) == 6
    assert len(bed.written) == 1


def test_the_transition_time_moves_only_with_the_status_of_a_condition() -> None:
    async def scenario(bed: Bed) -> None:
        bed.edit(1)
        await settle(100)
        first = bed.status["conditions"][0]
        bed.decide = lambda *_: Plan(status={"conditions": [{**PERMITTED, "message": "works better"}]})
        bed.edit(2)
        await settle(100)
        second = bed.status["conditions"][0]
        assert (second["message"], second["observedGeneration"]) == ("works better", 2)
        assert second["lastTransitionTime"] == first["lastTransitionTime"]
        bed.decide = lambda *_: Plan(status={"conditions": [{**PERMITTED, "status": "False"}]})
        bed.edit(3)
        await settle()
        assert bed.status["conditions"][0]["lastTransitionTime"] > first["lastTransitionTime"]

    run(scenario)


def test_a_quick_success_costs_one_write_though_work_went_on_first() -> None:
    async def scenario(bed: Bed) -> None:
        working = {**PERMITTED, "status": "False", "reason": Reason.PROGRESSING}
        bed.decide = lambda *_: Plan(status={"conditions": [working]}, settled=False)
        bed.edit(1)
        await settle(2)
        assert bed.written == []
        bed.decide = lambda *_: Plan(status={"conditions": [PERMITTED]})
        bed.engine.enqueue(KEY)
        await settle(10)

    bed = run(scenario)
    assert len(bed.written) == 1
    assert bed.status["observedGeneration"] == 1


def test_slow_work_is_reported_after_the_grace_and_does_not_move_the_observed_generation() -> None:
    async def scenario(bed: Bed) -> None:
        working = {**PERMITTED, "status": "False", "reason": Reason.PROGRESSING}
        bed.decide = lambda *_: Plan(status={"conditions": [working]}, settled=False)
        bed.edit(4)
        await settle(20)

    bed = run(scenario)
    assert [round(at) for at, _ in bed.written] == [3]
    assert bed.status["observedGeneration"] == -1


def test_actions_are_done_in_order_before_the_status_is_written() -> None:
    steps = [Apply({"kind": "Service"}), Apply({"kind": "Deployment"})]

    async def scenario(bed: Bed) -> None:
        bed.decide = lambda *_: Plan(tuple(steps), {"conditions": [PERMITTED]})
        bed.failures = [Unreachable("apply", "no answer")]
        bed.edit(1)
        await settle(0.7)
        assert bed.written == []
        await settle(10)

    bed = run(scenario)
    assert bed.done == steps
    assert len(bed.written) == 1


def test_a_failing_object_backs_off_and_the_others_go_on() -> None:
    async def scenario(bed: Bed) -> None:
        def decide(desired: Object | None, key: Key, world: World) -> Plan:
            if key.name == "bad":
                raise ValueError("a defect of a planner")
            return Plan(status={"conditions": [PERMITTED]})

        bed.decide = decide
        bed.send(silo("bad"))
        bed.send(silo())
        await settle(20)

    bed = run(scenario)
    assert len(bed.written) == 1
    assert 4 <= bed.plans.count(Key("VSilo", "a", "bad")) <= 6, "1 + 2 + 4 + 8 s, with jitter"


def test_a_refused_action_becomes_a_condition_and_an_event_and_is_tried_again() -> None:
    async def scenario(bed: Bed) -> None:
        bed.decide = lambda *_: Plan((Apply({"kind": "Deployment"}),), {"conditions": [PERMITTED]})
        bed.failures = [Forbidden("apply Deployment a/silo-home", "exceeded quota", code=403)]
        bed.edit(1)
        await settle(0.5)
        conditions = {each["type"]: each for each in bed.status["conditions"]}
        assert conditions["Ready"]["status"] == "False"
        assert conditions["Stalled"]["reason"] == Reason.REFUSED
        assert "exceeded quota" in conditions["Stalled"]["message"]
        assert [note.reason for note in bed.notes] == [Reason.REFUSED]
        await settle(5)
        assert [(each["type"], each["status"]) for each in bed.status["conditions"]] == [("Ready", "True")]

    run(scenario)


def test_a_terminating_namespace_is_no_failure() -> None:
    async def scenario(bed: Bed) -> None:
        details = {"causes": [{"reason": "NamespaceTerminating"}]}
        bed.decide = lambda *_: Plan((Apply({"kind": "Deployment"}),), {"conditions": [PERMITTED]})
        bed.failures = [Forbidden("apply Deployment", "being terminated", code=403, details=details)]
        bed.edit(1)
        await settle(20)

    bed = run(scenario)
    assert bed.written == []
    assert bed.results == [(KEY, "done")]


def test_while_the_api_server_is_away_all_wait_for_it_together() -> None:
    async def scenario(bed: Bed) -> None:
        bed.answering = False
        bed.status_failures = [Unreachable("apply_status", "no answer")] * 16
        for number in range(100):
            bed.send(silo(f"s{number}"))
        await settle(120)
        assert len(bed.results) <= 16, "those in hand when it went"
        bed.answering, bed.status_failures = True, []
        await settle(2.1)
        assert len(bed.written) == 100, "back within seconds, however long it was away"

    run(scenario)


def test_whoever_does_not_hold_the_lease_does_nothing() -> None:
    async def scenario(bed: Bed) -> None:
        bed.decide = lambda *_: Plan((Apply({"kind": "Service"}),), {"conditions": [PERMITTED]})
        bed.held = False
        bed.edit(1)
        await settle(30)
        assert (bed.done, bed.written) == ([], [])
        bed.held = True
        await settle(5)

    bed = run(scenario)
    assert len(bed.written) == 1


def test_an_object_deleted_and_made_anew_during_a_pass_does_not_get_the_old_status() -> None:
    async def scenario(bed: Bed) -> None:
        bed.decide = lambda desired, *_: Plan(
            (Apply({"kind": "Service"}),), {"of": desired and desired["metadata"]["uid"]}
        )
        bed.edit(1)
        await settle(0.006)
        bed.send(silo(), gone=True)
        bed.send({**silo(), "metadata": {**silo()["metadata"], "uid": "second"}})
        await settle()

    bed = run(scenario)
    assert [status["of"] for _, status in bed.written] == ["second"]


def test_an_object_that_waits_for_its_deletion_is_planned_as_gone() -> None:
    async def scenario(bed: Bed) -> None:
        seen: list[Object | None] = []
        bed.decide = lambda desired, *_: seen.append(desired) or Plan(status={})  # type: ignore[func-returns-value]
        bed.edit(1, deletionTimestamp="2026-11-21T00:00:00Z", finalizers=["foregroundDeletion"])
        await settle()
        assert seen == [None]

    assert run(scenario).written == []


def test_dependents_and_owners_are_planned_when_something_of_theirs_changes() -> None:
    async def scenario(bed: Bed) -> None:
        bed.edit(1)
        await settle()
        bed.plans.clear()
        flavour = {"kind": "Flavour", "metadata": {"name": "mqtt", "uid": "f", "generation": 1}}
        bed.send(flavour)
        await settle()
        assert bed.plans == [KEY]
        labels = {"tephra.dev/owner": "uid-home", "tephra.dev/owner-name": "vsilo.home"}
        pod = {"kind": "Pod", "metadata": {"namespace": "a", "name": "p", "uid": "p", "labels": labels}}
        bed.send({**pod, "status": {"phase": "Pending"}})
        await settle()
        bed.send({**pod, "status": {"phase": "Running"}})
        await settle()
        assert bed.plans == [KEY] * 3

    run(scenario)


def test_a_plan_may_ask_to_be_called_again() -> None:
    async def scenario(bed: Bed) -> None:
        bed.decide = lambda *_: Plan(status={"conditions": [PERMITTED]}, requeue_after=30.0)
        bed.edit(1)
        await settle(100)

    bed = run(scenario)
    assert len(bed.plans) == 4
    assert len(bed.written) == 1


def test_stopping_finishes_what_is_in_hand() -> None:
    async def scenario(bed: Bed) -> None:
        bed.decide = lambda *_: Plan(tuple([Apply({"kind": "Service"})] * 100), {"conditions": [PERMITTED]})
        bed.edit(1)
        await settle(0.1)
        assert 0 < len(bed.done) < 100

    bed = run(scenario)
    assert len(bed.done) == 100
    assert len(bed.written) == 1


def test_somebody_elses_status_is_put_right() -> None:
    async def scenario(bed: Bed) -> None:
        bed.edit(1)
        await settle()
        bed.send({**bed.objects[KEY], "status": {"observedGeneration": 1, "conditions": []}})
        await settle()

    bed = run(scenario)
    assert len(bed.written) == 2
    assert bed.status["conditions"][0]["status"] == "True"


@pytest.mark.parametrize("workers", [1, 16])
def test_a_thousand_resyncs_do_not_hold_up_one_edit(workers: int) -> None:
    async def scenario(bed: Bed) -> None:
        for number in range(1000):
            bed.engine.cache.observe(
                {**silo(f"s{number}"), "metadata": {**silo(f"s{number}")["metadata"], "resourceVersion": "1"}}
            )
        bed.engine.resync()
        await settle(0.05)
        bed.edit(1)
        await settle(0.1)
        assert KEY in bed.plans[: 30 * workers]

    run(scenario, workers=workers)
