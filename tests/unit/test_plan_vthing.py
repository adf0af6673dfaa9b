"""VThing: announced, hand-written, made from params, withdrawn, misnamed."""

from dataclasses import replace

import pytest

from tephra.bus.messages import Announcement, MakeFailure
from tephra.plan.base import NOTHING
from tephra.plan.bus_state import revision_of
from tests.support import worlds
from tests.support.worlds import World, condition, message, visor, visor_report, vthing


def world(*items: worlds.Manifest, ready: bool = True) -> World:
    hand = World(worlds.visor_type(), visor(), *items)
    return hand.perform(hand.plan(visor()), ready=ready)


def test_announced_is_ready_and_says_what_is_announced() -> None:
    item = vthing("hello.a", "hello/a")
    said = Announcement(thing="a", type="Lamp", label="Kitchen", commands=("off", "on", "on"))
    plan = world(item).say(visor_report().model_copy(update={"v_things": (said,)})).plan(item)
    assert condition(plan, "Ready") == ("True", "Ready")
    assert plan.status is not None
    assert plan.status.items() >= {"announced": True, "type": "Lamp", "label": "Kitchen"}.items()
    assert plan.status["commands"] == ["off", "on"]


def test_not_ready_while_the_pod_of_its_thingvisor_is_not() -> None:
    item = vthing("hello.a", "hello/a")
    plan = world(item, ready=False).say(visor_report("a")).plan(item)
    assert condition(plan, "Ready") == ("False", "ThingVisorNotReady")
    assert condition(plan, "Announced") == ("True", "Announced")
    assert not plan.settled


@pytest.mark.parametrize(
    ("name", "id_", "reason", "word"),
    [
        ("hello.Wrong", "hello/a", "NameMismatch", "hello.a"),
        ("nobody.a", "nobody/a", "ThingVisorNotFound", "things/nobody"),
        ("hello.b", "hello/b", "NotAnnounced", "hello/b"),
    ],
)
def test_a_persons_mistake_is_named(name: str, id_: str, reason: str, word: str) -> None:
    item = vthing(name, id_, ours=False)
    plan = world(item).say(visor_report("a")).plan(item)
    assert condition(plan, "Ready") == ("False", reason)
    assert condition(plan, "Stalled") == ("True", reason)
    assert word in message(plan)


def test_a_persons_withdrawn_thing_stays_and_says_so() -> None:
    item = vthing("hello.a", "hello/a", ours=False)
    hand = world(item).say(visor_report("a"))
    hand.report(item, hand.plan(item))
    for _ in range(2):  # also when planned again from the withdrawn status
        plan = hand.say(visor_report("b")).plan(item)
        assert condition(plan, "Ready") == ("False", "Withdrawn")
        hand.report(item, plan)
    assert condition(hand.say(visor_report("a")).plan(item), "Ready") == ("True", "Ready")


def test_one_of_ours_that_is_going_says_nothing() -> None:
    item = vthing("hello.a", "hello/a")
    assert world(item).say(visor_report("b")).plan(item) == NOTHING
    assert World(item).plan(item) == NOTHING


def test_while_the_thingvisor_starts_absence_means_nothing() -> None:
    item = vthing("hello.a", "hello/a")
    plan = world(item).say(visor_report(epoch=int(worlds.NOW - 2) * 1000)).plan(item)
    assert (condition(plan, "Ready"), plan.settled) == (("False", "Progressing"), False)
    assert plan.requeue_after == pytest.approx(8)


def test_params_are_confirmed_by_their_revision() -> None:
    params = {"url": "rtsp://x"}
    item = vthing("hello.cam", "hello/cam", ours=False, params=params)
    hand = world(item).say(visor_report())
    asked = hand.plan(item)
    assert (condition(asked, "Ready"), asked.settled) == (("False", "WaitingForReport"), False)
    stale = visor_report().model_copy(update={"v_things": (Announcement(thing="cam", revision="of old params"),)})
    assert not hand.say(stale).plan(item).settled
    made = visor_report().model_copy(update={"v_things": (Announcement(thing="cam", revision=revision_of(params)),)})
    assert condition(hand.say(made).plan(item), "Ready") == ("True", "Ready")


def test_failure_to_make_it_is_told() -> None:
    params = {"url": "rtsp://x"}
    item = vthing("hello.cam", "hello/cam", ours=False, params=params)
    failure = MakeFailure(thing="cam", message="no route to host", revision=revision_of(params))
    plan = world(item).say(visor_report(failures=(failure,))).plan(item)
    assert condition(plan, "Ready") == ("False", "MakeFailed")
    assert "no route to host" in message(plan)


def test_before_the_first_report_the_thingvisor_is_waited_for() -> None:
    item = vthing("hello.a", "hello/a", ours=False)
    plan = world(item).plan(item)
    assert (condition(plan, "Ready"), plan.settled) == (("False", "ThingVisorNotReady"), False)


def test_without_the_bus_nothing_is_known() -> None:
    item = vthing("hello.a", "hello/a")
    hand = world(item).say(visor_report("a"))
    hand.bus = replace(hand.bus, connected=False)
    assert condition(hand.plan(item), "Ready") == ("Unknown", "WaitingForBus")
