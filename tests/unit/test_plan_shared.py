"""What planners share: parameters, pod troubles, access, relations, the sweep."""

from dataclasses import replace
from typing import Any

import pytest

from tephra.bus.messages import Announcement, MakeFailure
from tephra.plan import PLANNERS, params
from tephra.plan.base import NOTHING, BusForget, BusPublish, Key
from tephra.plan.relations import DEPENDENTS, visor_reported
from tests.support import worlds
from tests.support.worlds import World, condition, message, visor, visor_report, vthing

# --- parameters


@pytest.mark.parametrize(
    ("schema", "given", "completed"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"properties": {"a": {"default": 1}}}, {}, {"a": 1}),
        ({"properties": {"a": {"default": 1}}}, {"a": 2}, {"a": 2}),
        ({"properties": {"o": {"properties": {"a": {"default": 1}}}}}, {"o": {}}, {"o": {"a": 1}}),
        ({"properties": {"l": {"items": {"properties": {"a": {"default": 1}}}}}}, {"l": [{}]}, {"l": [{"a": 1}]}),
        ({"required": ["a"], "properties": {"a": {"default": 1}}}, {}, {"a": 1}),
    ],
)
def test_defaults(schema: dict[str, Any], given: dict[str, Any], completed: dict[str, Any]) -> None:
    assert params.complete(schema, given) == completed


@pytest.mark.parametrize(
    ("schema", "given", "words"),
    [
        ({"properties": {"a": {"type": "integer"}}}, {"a": "x"}, "spec.params.a: 'x' is not of type 'integer'"),
        ({"properties": {"l": {"items": {"type": "string"}}}}, {"l": ["a", 1]}, "spec.params.l[1]: "),
        ({"required": ["a"]}, {}, "spec.params: 'a' is a required property"),
        ({"additionalProperties": False}, {"typo": 1}, "'typo' was unexpected"),
    ],
)
def test_wrong_params_name_the_place(schema: dict[str, Any], given: dict[str, Any], words: str) -> None:
    with pytest.raises(params.ParamsInvalid) as raised:
        params.complete(schema, given)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"properties": []},
        {"properties": {"a": {"pattern": "("}}},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
    ],
)
def test_wrong_schemas_are_not_the_params_fault(schema: dict[str, Any]) -> None:
    with pytest.raises(params.SchemaInvalid):
        params.complete(schema, {"a": "x"})


@pytest.mark.parametrize(
    ("declared", "ready"),
    [
        ({}, ("True", "Ready")),
        ({"schema": {"required": ["a"]}}, ("True", "Ready")),
        ({"schema": {"required": ["a"]}, "example": {"b": 1}}, ("False", "SchemaInvalid")),
        ({"schema": {"type": 7}}, ("False", "SchemaInvalid")),
    ],
)
@pytest.mark.parametrize("make", [worlds.flavour, worlds.visor_type])
def test_flavours_and_types_are_checked_by_themselves(make: Any, declared: Any, ready: tuple[str, str]) -> None:
    item = make(params=declared)
    assert condition(World(item).plan(item), "Ready") == ready


def test_flavour_shows_its_example_completed() -> None:
    schema = {"properties": {"a": {"default": 1}, "b": {"type": "integer"}}}
    item = worlds.flavour(params={"schema": schema, "example": {"b": 2}})
    status = World(item).plan(item).status
    assert status is not None
    assert status["example"] == {"a": 1, "b": 2}


# --- pods


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


CRASHED = {"lastState": {"terminated": {"exitCode": 3, "message": "started\nno such broker\n"}}}


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (waiting("ErrImagePull", "not found"), "ImageUnavailable", "hello:1"),
        (
            waiting("ImagePullBackOff", 'Back-off pulling image "x": ErrImagePull: no'),
            "ImageUnavailable",
            "pull it (no)",
        ),
        (waiting("InvalidImageName"), "ImageUnavailable", "hello:1"),
        (waiting("CrashLoopBackOff") | CRASHED, "CrashLoop", "exit code 3: no such broker"),
        ({"restartCount": 4, **CRASHED}, "CrashLoop", "no such broker"),
        (waiting("CreateContainerConfigError", 'secret "owm" not found'), "SecretMissing", "owm"),
        (waiting("CreateContainerConfigError", "image will run as root"), "Refused", "root"),
        (waiting("ContainerCreating"), "WaitingForPod", "not ready"),
    ],
)
def test_pod_trouble(status: dict[str, Any], reason: str, words: str) -> None:
    item = visor()
    hand = World(worlds.visor_type(), item)
    hand.perform(hand.plan(item), ready=False)
    deployment = dict(hand.cache.get("Deployment", "things", "tv-hello") or {})
    plan = hand.have(worlds.pod_of(deployment, ready=False, **status)).plan(item)
    assert condition(plan, "PodReady") == condition(plan, "Ready") == ("False", reason)
    assert words in message(plan)
    assert plan.settled is (reason != "WaitingForPod")


def test_unschedulable_pod_says_what_the_scheduler_says() -> None:
    item = worlds.silo(placement={"site": "atlantis"})
    hand = World(worlds.flavour(), item)
    hand.perform(hand.plan(item), ready=False)
    pod = dict(hand.cache.get("Pod", "tenant", "silo-home-1") or {})
    said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}
    plan = hand.have(pod | {"spec": {}, "status": {"conditions": [said]}}).plan(item)
    assert condition(plan, "Placed") == condition(plan, "Ready") == ("False", "Unschedulable")
    assert "site atlantis" in message(plan)
    assert "0/2 nodes" in message(plan)


def test_a_node_that_does_not_answer_is_told() -> None:
    """The node controller marks the pod, not its containers: the kubelet would have to."""
    item = worlds.silo()
    hand = World(worlds.flavour(), item)
    hand.settle(item)
    pod = dict(hand.cache.get("Pod", "tenant", "silo-home-1") or {})
    marked = pod["status"] | {"conditions": [{"type": "Ready", "status": "False"}]}
    plan = hand.have(pod | {"status": marked}).plan(item)
    assert (condition(plan, "Placed"), plan.settled) == (("False", "WaitingForPod"), False)
    assert "node" in message(plan)


def test_refused_pod_says_who_refuses() -> None:
    item = worlds.silo()
    hand = World(worlds.flavour(), item)
    hand.perform(hand.plan(item), ready=False)
    deployment = dict(hand.cache.get("Deployment", "tenant", "silo-home") or {})
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods"}
    status = {"observedGeneration": 1, "conditions": [failure]}
    plan = hand.have(deployment | {"status": status}).plan(item)
    assert condition(plan, "Ready") == ("False", "Refused")
    assert "exceeded quota" in message(plan)


def test_an_old_pods_trouble_does_not_count_for_the_new_spec() -> None:
    item = visor()
    hand = World(worlds.visor_type(), item)
    hand.perform(hand.plan(item), ready=False)
    deployment = dict(hand.cache.get("Deployment", "things", "tv-hello") or {})
    hand.have(worlds.pod_of(deployment, ready=False, **waiting("ErrImagePull")))
    plan = hand.have(worlds.visor_type(image="hello:2")).plan(item)
    assert condition(plan, "Ready") == ("False", "Progressing")


# --- relations

HOME, HELLO, A = (
    Key("VSilo", "tenant", "home"),
    Key("ThingVisor", "things", "hello"),
    Key("VThing", "things", "hello.a"),
)


def world() -> World:
    silo = worlds.silo("things/hello/a", "things/hello/b/c", exposure="NodePort")
    return World(silo, visor(), vthing("hello.a", "hello/a"), worlds.namespace("tenant"))


DEPLOYMENT = {
    "kind": "Deployment",
    "metadata": {"name": "x", "namespace": "things", "labels": {"tephra.dev/owner-name": "thingvisor.hello"}},
}
NODE = {"kind": "Node", "metadata": {"name": "n"}}


@pytest.mark.parametrize(
    ("changed", "planned"),
    [
        (worlds.flavour(), {HOME}),
        (worlds.visor_type(), {HELLO}),
        (visor(), {A, HOME}),
        (vthing("hello.a", "hello/a"), {HOME}),
        (vthing("hello.a", "hello/a", ours=False), {HOME, HELLO}),
        (vthing("hello.x", "hello/b/c"), {HOME}),
        (vthing("hello.z", "hello/z"), set()),
        (worlds.namespace("tenant"), {HOME}),
        (worlds.namespace("other"), set()),
        (DEPLOYMENT, {A}),
        (NODE, {HOME}),
    ],
)
def test_who_is_planned_again(changed: worlds.Manifest, planned: set[Key]) -> None:
    assert set(DEPENDENTS[changed["kind"]](changed, world().cache)) == planned


def report(**types: str) -> Any:
    things = tuple(Announcement(thing=thing, type=type_) for thing, type_ in types.items())
    return visor_report().model_copy(update={"v_things": things})


@pytest.mark.parametrize(
    ("before", "after", "planned"),
    [
        (None, report(a="x"), {HELLO, A, HOME}),
        (report(a="x"), None, {HELLO, A, HOME}),
        (report(a="x"), report(a="x"), {HELLO}),
        (report(a="x"), report(a="y"), {HELLO, A, HOME}),
        (report(a="x"), report(a="x", z="x"), {HELLO}),
        (report(), report().model_copy(update={"failures": (MakeFailure(thing="a", message=""),)}), {HELLO, A, HOME}),
    ],
)
def test_whom_a_report_concerns(before: Any, after: Any, planned: set[Key]) -> None:
    assert set(visor_reported("things.hello", before, after, world().cache)) == planned


# --- the sweep


def test_sweep_removes_what_has_no_object() -> None:
    hand = world()
    hand.bus = replace(
        hand.bus,
        identities={"tv.things.hello", "tv.things.gone", "silo.tenant.home", "silo.gone.home"},
        retained={"TV/things.gone/c_in", "vThing/things.hello/a/data_out/e", "vThing/things.gone/a/data_out/e"},
    )
    key = Key("Sweep", "", "")
    assert PLANNERS["Sweep"](None, key, hand.snapshot()).actions == (
        BusForget("silo.gone.home"),
        BusForget("tv.things.gone"),
        BusPublish("TV/things.gone/c_in", None),
        BusPublish("vThing/things.gone/a/data_out/e", None),
    )
    hand.bus = replace(hand.bus, connected=False)
    assert PLANNERS["Sweep"](None, key, hand.snapshot()) == NOTHING
