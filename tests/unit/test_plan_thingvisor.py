"""ThingVisor: what runs, what it is told, and the catalogue that follows its announcements (contracts §1, §2)."""

from dataclasses import replace
from typing import Any

import pytest

from tephra.bus.messages import Announcement, Health, ThingVisorDesired
from tephra.plan.base import Apply, BusAccess, BusForget, BusPublish, BusState, Delete, Plan
from tests.support import worlds
from tests.support.worlds import World, applied, condition, message, visor, visor_report, vthing

SCHEMA = {"type": "object", "properties": {"period": {"type": "integer", "default": 5}}}


def world(*items: worlds.Manifest, **type_spec: Any) -> World:
    return World(worlds.visor_type(**type_spec), *items)


def told(plan: Plan) -> ThingVisorDesired:
    payload = next(action.payload for action in plan.actions if isinstance(action, BusPublish))
    assert payload
    return ThingVisorDesired.decode(payload)


def catalogue(plan: Plan) -> set[str]:
    applies = [action.manifest for action in plan.actions if isinstance(action, Apply)]
    return {manifest["metadata"]["name"] for manifest in applies if manifest["kind"] == "VThing"}


def deleted(plan: Plan) -> set[str]:
    return {action.key.name for action in plan.actions if isinstance(action, Delete)}


def test_ready_when_pod_runs_and_report_confirms() -> None:
    item = visor()
    hand = world(item)
    first = hand.plan(item)
    assert not first.settled
    hand.perform(first)
    assert condition(hand.plan(item), "Ready") == ("False", "WaitingForReport")
    plan = hand.say(visor_report("a", "b")).plan(item)
    assert (condition(plan, "Ready"), plan.settled) == (("True", "Ready"), True)
    assert plan.status is not None
    assert plan.status["vThings"] == 2


def test_new_generation_is_settled_only_when_confirmed() -> None:
    item = visor(2, params={"period": 7})
    hand = world(item).say(visor_report())
    plan = hand.perform(hand.plan(item)).plan(item)
    assert (condition(plan, "Ready"), plan.settled) == (("False", "WaitingForReport"), False)
    assert hand.say(visor_report(observed=2)).plan(item).settled


def test_params_do_not_restart_the_pod() -> None:
    one, two = visor(params={"period": 1}), visor(2, params={"period": 2})
    plans = [world(item).plan(item) for item in (one, two)]
    assert applied(plans[0], "Deployment") == applied(plans[1], "Deployment")
    assert [told(plan).params for plan in plans] == [{"period": 1}, {"period": 2}]


def test_defaults_are_filled_in() -> None:
    assert told(world(visor(), params={"schema": SCHEMA}).plan(visor())).params == {"period": 5}


def test_unknown_type_stalls() -> None:
    plan = World(visor()).plan(visor())
    assert condition(plan, "TypeResolved") == condition(plan, "Ready") == ("False", "TypeNotFound")
    assert condition(plan, "Stalled") == ("True", "TypeNotFound")
    assert plan.settled
    assert plan.actions == ()


def test_bad_params_name_the_place_and_leave_what_runs() -> None:
    item = visor(2, params={"period": "often"})
    hand = world(item, params={"schema": SCHEMA}).say(visor_report("a"))
    plan = hand.plan(item)
    assert condition(plan, "ParamsValid") == ("False", "ParamsInvalid")
    assert "spec.params.period" in message(plan)
    assert not any(isinstance(action, BusPublish | BusAccess) for action in plan.actions)
    assert catalogue(plan) == {"hello.a"}


def test_params_that_the_program_refuses() -> None:
    item = visor()
    hand = world(item).say(visor_report(params_error="city Atlantis is unknown"))
    plan = hand.perform(hand.plan(item)).plan(item)
    assert condition(plan, "ParamsValid") == condition(plan, "Ready") == ("False", "ParamsInvalid")
    assert "Atlantis" in message(plan)


def test_unusable_schema_is_the_types_fault() -> None:
    plan = world(visor(), params={"schema": {"type": "no such type"}}).plan(visor())
    assert condition(plan, "TypeResolved") == ("False", "SchemaInvalid")


KEYS = {"secretKeys": [{"name": "appid", "required": True}, {"name": "extra"}]}


def test_required_secret_has_to_be_named() -> None:
    plan = world(visor(), **KEYS).plan(visor())
    assert condition(plan, "Ready") == ("False", "SecretMissing")
    assert "appid" in message(plan)


def test_secret_is_mounted_as_optional_so_that_the_program_can_say_what_is_missing() -> None:
    item = visor(secretRef={"name": "owm"})
    pod = applied(world(item, **KEYS).plan(item), "Deployment")["spec"]["template"]["spec"]
    assert {"secretName": "owm", "optional": True, "defaultMode": 0o440} in [v.get("secret") for v in pod["volumes"]]


@pytest.mark.parametrize(
    ("said", "reason", "calls"),
    [
        ("Unreachable", "Unreachable", False),
        ("RateLimited", "RateLimited", False),
        ("BadResponse", "BadResponse", False),
        ("Unauthorized", "Unauthorized", True),
        ("SecretMissing", "SecretMissing", True),
        ("Sulking", "BadResponse", False),
    ],
)
def test_health_of_the_source(said: str, reason: str, calls: bool) -> None:
    item = visor(secretRef={"name": "owm"})
    hand = world(item).say(visor_report(health=Health(ok=False, reason=said, message="the door is shut")))
    plan = hand.perform(hand.plan(item)).plan(item)
    assert condition(plan, "SourceHealthy") == condition(plan, "Ready") == ("False", reason)
    assert (condition(plan, "Stalled")[0] == "True") is calls
    assert "the door is shut" in message(plan)
    assert ("things/owm" in message(plan)) is calls
    assert plan.settled


def test_announced_things_are_in_the_catalogue_under_the_codecs_name() -> None:
    item = visor(placement={"site": "rome"})
    report = visor_report().model_copy(update={"v_things": (Announcement(thing="Rome_Temp", type="x/Temperature"),)})
    entry = applied(world(item).say(report).plan(item), "VThing")
    assert entry["metadata"]["name"] == "hello.x---52ome-5f-54emp"
    assert entry["spec"] == {"id": "hello/Rome_Temp"}
    assert entry["metadata"]["labels"].items() >= {
        ("tephra.dev/thingvisor", "hello"),
        ("tephra.dev/type", "Temperature"),
        ("tephra.dev/site", "rome"),
    }
    assert entry["metadata"]["ownerReferences"][0]["kind"] == "ThingVisor"


def test_a_persons_vthing_is_adopted_as_it_is_and_never_deleted() -> None:
    mine = vthing("hello.a", "hello/a", ours=False)
    assert catalogue(world(visor(), mine).say(visor_report("a", "b")).plan(visor())) == {"hello.b"}
    assert deleted(world(visor(), mine).say(visor_report("b")).plan(visor())) == set()


def test_withdrawn_things_of_ours_go_but_not_while_the_thingvisor_starts() -> None:
    entry = vthing("hello.a", "hello/a")
    hand = world(visor(), entry)
    assert deleted(hand.say(visor_report("b")).plan(visor())) == {"hello.a"}
    starting = hand.say(visor_report("b", epoch=int(worlds.NOW - 1) * 1000)).plan(visor())
    assert deleted(starting) == set()
    assert starting.requeue_after == pytest.approx(9)


@pytest.mark.parametrize(("ahead", "withdrawn"), [(-11, True), (30, False), (3600, True)])
def test_a_clock_that_is_ahead_does_not_hold_up_withdrawals_for_ever(ahead: int, withdrawn: bool) -> None:
    report = visor_report("b", epoch=int(worlds.NOW + ahead) * 1000)
    plan = world(visor(), vthing("hello.a", "hello/a")).say(report).plan(visor())
    assert bool(deleted(plan)) is withdrawn


def test_nothing_is_withdrawn_without_a_report() -> None:
    assert deleted(world(visor(), vthing("hello.a", "hello/a")).plan(visor())) == set()


def test_a_thing_that_cannot_be_named_is_told_and_skipped() -> None:
    plan = world(visor()).say(visor_report("x" * 200, "ok")).plan(visor())
    assert catalogue(plan) == {"hello.ok"}
    assert [event.reason for event in plan.events if event.type == "Warning"] == ["NameMismatch"]


def test_declared_things_are_told_with_their_params() -> None:
    camera = vthing("hello.cam", "hello/cam", ours=False, params={"url": "rtsp://x"})
    declared = told(world(visor(), camera, vthing("hello.a", "hello/a")).plan(visor())).v_things
    assert [(each.thing, each.params) for each in declared] == [("cam", {"url": "rtsp://x"})]
    assert declared[0].revision


def test_ports_and_egress_of_the_type() -> None:
    ports, egress = [{"name": "http", "port": 9000}], [{"cidr": "192.0.2.0/24", "ports": [443]}]
    plan = world(visor(), ports=ports, egress=egress).plan(visor())
    assert [port["port"] for port in applied(plan, "Service")["spec"]["ports"]] == [9000]
    policy = applied(plan, "NetworkPolicy")["spec"]
    assert policy["ingress"] == [{"ports": [{"port": 9000, "protocol": "TCP"}]}]
    assert policy["egress"][2] == {
        "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
        "ports": [{"port": 443, "protocol": "TCP"}],
    }


def test_deletion_forgets_it_with_everything_it_retained() -> None:
    hand = World()
    hand.bus = replace(hand.bus, retained={"vThing/things.hello/a/data_out/e", "vThing/things.other/a/data_out/e"})
    assert hand.plan(visor()).actions == (
        BusForget("tv.things.hello"),
        BusPublish("TV/things.hello/c_in", None),
        BusPublish("TV/things.hello/c_out", None),
        BusPublish("vThing/things.hello/a/data_out/e", None),
    )
    hand.bus = BusState()
    assert hand.plan(visor()).actions == ()
