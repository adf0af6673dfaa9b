"""The main job on a real cluster: ThingVisor → vThing → vSilo, beyond what `test_examples` shows."""

import json

import pytest

from tests.support.system import System, custom, hello, silo

pytestmark = pytest.mark.cluster


def test_catalogue_lists_announced_vthings(system: System, weather: None) -> None:
    things = {item["spec"]["id"]: item for item in system.list("vthings", "things")}
    assert {"weather/rome", "weather/rome_temp", "weather/tokyo_humidity"} <= things.keys()
    rome = things["weather/rome_temp"]
    assert rome["metadata"]["name"] == "weather.x--rome-5ftemp"
    assert rome["metadata"]["labels"]["tephra.dev/thingvisor"] == "weather"
    assert rome["metadata"]["ownerReferences"][0]["kind"] == "ThingVisor"


def test_late_silo_has_the_last_value_at_once(system: System, quiet_hello: str) -> None:
    """The source publishes once an hour, so what a new silo serves can only be the retained last value."""
    with system.namespace("late") as namespace:
        system.apply(silo(namespace, "late", f"{quiet_hello}/hello"))
        system.wait("vsilo", "late", namespace)
        with system.at_silo("late", namespace) as tenant:
            tenant.subscribe("#")
            assert json.loads(tenant.next().payload)["id"].startswith("urn:ngsi-ld:")


def test_editing_the_list_attaches_and_detaches_without_a_restart(system: System, quiet_hello: str) -> None:
    first, second = f"{quiet_hello}/hello", f"{quiet_hello}/hello-2"
    with system.namespace("edit") as namespace:
        system.apply(silo(namespace, "edit", first))
        system.wait("vsilo", "edit", namespace)
        pods = [pod["metadata"]["uid"] for pod in system.list("pods", namespace)]
        with system.at_silo("edit", namespace) as tenant:
            tenant.subscribe("#")
            tenant.until(lambda m: first in m.topic)
            system.apply(silo(namespace, "edit", first, second))
            tenant.until(lambda m: second in m.topic)
            system.apply(silo(namespace, "edit", second))
            tenant.until(lambda m: f"{first}/" in m.topic and not m.payload)
            system.wait("vsilo", "edit", namespace, "jsonpath={.status.attached}=1/1")
            system.wait("vsilo", "edit", namespace, "jsonpath={.status.vThings[0].id}=" + second)
        assert [pod["metadata"]["uid"] for pod in system.list("pods", namespace)] == pods


def test_commands_go_back_to_the_thing(system: System) -> None:
    with system.namespace("act") as namespace:
        system.apply(hello(namespace, period=3600))
        ref = {"id": f"{namespace}/hello/hello", "commands": True}
        system.apply(silo(namespace, "act", vThings=[ref]))
        system.wait("vsilo", "act", namespace)
        with system.at_silo("act", namespace) as tenant:
            tenant.subscribe("#")
            data = tenant.until(lambda m: "counter" in json.loads(m.payload))
            tenant.publish(f"{data.topic}/set-counter", "41")
            tenant.until(lambda m: m.topic == data.topic and json.loads(m.payload)["counter"]["value"] == 41)


def test_websocket_endpoint_serves_the_same(system: System, quiet_hello: str) -> None:
    with system.namespace("wss") as namespace:
        system.apply(silo(namespace, "wss", f"{quiet_hello}/hello"))
        system.wait("vsilo", "wss", namespace)
        with system.at_silo("wss", namespace, "wss") as tenant:
            tenant.subscribe("#")
            assert tenant.next().retain


def test_seed_layout_carries_the_neutral_message(system: System) -> None:
    with system.namespace("seed") as namespace:
        system.apply(hello(namespace, period=1))
        system.apply(silo(namespace, "seed", f"{namespace}/hello/hello", params={"topicLayout": "seed"}))
        system.wait("vsilo", "seed", namespace)
        with system.at_silo("seed", namespace) as tenant:
            tenant.subscribe("#")
            message = tenant.next()
    assert message.topic == f"{namespace}/{namespace}/hello/hello"
    body = json.loads(message.payload)
    assert body["meta"]["vThingID"] == f"{namespace}/hello/hello"
    assert isinstance(body["data"], list)


def test_withdrawn_vthings_go_and_a_persons_stay(system: System) -> None:
    with system.namespace("withdraw") as namespace:
        system.apply(hello(namespace, period=1, things=["a", "b"]))
        system.wait("vthing", "hello.b", namespace, "create")
        system.wait("vthing", "hello.b", namespace)
        system.apply(custom("VThing", namespace, "hello.c", {"id": "hello/c"}))
        assert "hello/c" in system.wait_reason("vthing", "hello.c", namespace, "Ready", "NotAnnounced")
        system.apply(hello(namespace, period=1, things=["a", "b", "c"]))
        system.wait("vthing", "hello.c", namespace)
        system.apply(hello(namespace, period=1, things=["a"]))
        system.wait("vthing", "hello.b", namespace, "delete")
        system.wait_reason("vthing", "hello.c", namespace, "Ready", "Withdrawn")
        assert system.get("vthing", "hello.c", namespace)["spec"]["id"] == "hello/c"


def test_hand_written_vthing_is_made_from_its_params(system: System) -> None:
    with system.namespace("make") as namespace:
        system.apply(hello(namespace, period=1))
        system.apply(custom("VThing", namespace, "hello.made", {"id": "hello/made", "params": {"start": 1000}}))
        system.wait("vthing", "hello.made", namespace)
        system.apply(silo(namespace, "make", f"{namespace}/hello/made"))
        system.wait("vsilo", "make", namespace)
        with system.at_silo("make", namespace) as tenant:
            tenant.subscribe("#")
            message = tenant.until(lambda m: "counter" in json.loads(m.payload))
            assert json.loads(message.payload)["counter"]["value"] >= 1000


def test_placement_goes_to_the_site(system: System) -> None:
    with system.namespace("site") as namespace:
        system.apply(hello(namespace) | {"spec": {"type": "helloworld", "placement": {"site": "oslo"}}})
        system.wait("thingvisor", "hello", namespace)
        assert [pod["spec"]["nodeName"] for pod in system.list("pods", namespace)] == ["node-2"]
        system.apply(silo(namespace, "nowhere", f"{namespace}/hello/hello", placement={"site": "atlantis"}))
        message = system.wait_reason("vsilo", "nowhere", namespace, "Placed", "Unschedulable")
        assert "atlantis" in message
