"""Bad input meets a condition with a reason, an Event, no harm to the rest, and recovery when mended (issue row 7).

What a schema or CEL can refuse, the API server refuses alone: `tests/properties` and `tests/data/bad`.
"""

import pytest

from tests.support.system import System, condition, custom, hello, silo

pytestmark = pytest.mark.cluster


def test_unknown_vthing_then_it_appears(system: System) -> None:
    with system.namespace("bad") as namespace:
        system.apply(hello(namespace, period=1, things=["a"]))
        system.apply(silo(namespace, "home", f"{namespace}/hello/a", f"{namespace}/hello/b"))
        message = system.wait_reason("vsilo", "home", namespace, "Ready", "VThingNotFound")
        assert f"{namespace}/hello/b" in message
        system.wait_event("home", namespace, "VThingNotFound")
        with system.at_silo("home", namespace) as tenant:
            tenant.subscribe("#")
            tenant.until(lambda m: "/hello/a/" in m.topic)
        system.apply(hello(namespace, period=1, things=["a", "b"]))
        system.wait("vsilo", "home", namespace)


def test_access_not_granted_then_granted(system: System, quiet_hello: str) -> None:
    with system.namespace("owner") as owner, system.namespace("other", team="blue") as other:
        closed = hello(owner, period=1)
        closed["spec"]["access"] = {"read": {"from": "Same"}}
        system.apply(closed)
        system.wait("thingvisor", "hello", owner)
        system.apply(silo(other, "home", f"{owner}/hello/hello", f"{quiet_hello}/hello"))
        message = system.wait_reason("vsilo", "home", other, "Ready", "AccessDenied")
        assert f"{owner}/hello/hello" in message
        system.wait_event("home", other, "AccessDenied")
        with system.at_silo("home", other) as tenant:
            tenant.subscribe("#")
            assert quiet_hello in tenant.next().topic
        closed["spec"]["access"] = {"read": {"from": "Selector", "selector": {"matchLabels": {"team": "blue"}}}}
        system.apply(closed)
        system.wait("vsilo", "home", other)


def test_unknown_flavour_then_it_is_made(system: System) -> None:
    with system.namespace("bad") as namespace:
        flavour = f"flavour-{namespace}"
        system.apply(custom("VSilo", namespace, "home", {"flavour": flavour}))
        assert flavour in system.wait_reason("vsilo", "home", namespace, "Ready", "FlavourNotFound")
        system.wait_event("home", namespace, "FlavourNotFound")
        made = system.get("flavour", "mqtt")
        system.apply(custom("Flavour", None, flavour, made["spec"]))
        try:
            system.wait("vsilo", "home", namespace)
        finally:
            system.kubectl("delete", "flavour", flavour)


def test_bad_params_keep_the_old_ones_in_force(system: System) -> None:
    with system.namespace("bad") as namespace:
        system.apply(hello(namespace, period=1))
        system.apply(silo(namespace, "home", f"{namespace}/hello/hello"))
        system.wait("vsilo", "home", namespace)
        system.apply(hello(namespace, period="often"))
        message = system.wait_reason("thingvisor", "hello", namespace, "ParamsValid", "ParamsInvalid")
        assert "period" in message
        system.wait_event("hello", namespace, "ParamsInvalid")
        with system.at_silo("home", namespace) as tenant:
            tenant.subscribe("#")
            tenant.until(lambda m: not m.retain)
        system.apply(hello(namespace, period=2))
        system.wait("thingvisor", "hello", namespace)


def test_bad_silo_params_are_named(system: System) -> None:
    with system.namespace("bad") as namespace:
        system.apply(custom("VSilo", namespace, "home", {"flavour": "mqtt", "params": {"topicLayout": "sideways"}}))
        assert "topicLayout" in system.wait_reason("vsilo", "home", namespace, "Ready", "ParamsInvalid")
        system.wait_event("home", namespace, "ParamsInvalid")
        system.apply(custom("VSilo", namespace, "home", {"flavour": "mqtt", "params": {"topicLayout": "seed"}}))
        system.wait("vsilo", "home", namespace)


def test_image_that_does_not_exist(system: System) -> None:
    with system.namespace("bad") as namespace:
        name = f"type-{namespace}"
        spec = system.get("thingvisortype", "helloworld")["spec"]
        system.apply(custom("ThingVisorType", None, name, spec | {"image": "localhost/tephra/no-such-image:1"}))
        try:
            system.apply(custom("ThingVisor", namespace, "hello", {"type": name}))
            message = system.wait_reason("thingvisor", "hello", namespace, "Ready", "ImageUnavailable")
            assert "no-such-image" in message
            system.wait_event("hello", namespace, "ImageUnavailable")
            system.apply(custom("ThingVisorType", None, name, spec))
            system.wait("thingvisor", "hello", namespace)
        finally:
            system.kubectl("delete", "thingvisortype", name)


OSLO = {
    "baseUrl": "http://openweathermap-simulator.things.svc.cluster.local:8080",
    "period": 1,
    "cities": [{"name": "oslo", "lat": 59.91, "lon": 10.75}],
}


def test_trouble_with_the_source_is_named_and_mended(system: System, weather: None) -> None:
    """Three at once, because a kubelet takes up to 90 s to bring a changed Secret to a pod."""
    with system.namespace("up") as namespace:
        nowhere = OSLO | {"baseUrl": f"http://nobody.{namespace}.svc.cluster.local:8080"}
        system.apply(
            *(_weather(namespace, "lost", nowhere), _key(namespace, "lost", "simulated-key")),
            *(_weather(namespace, "stranger", OSLO), _key(namespace, "stranger", "wrong-key")),
            *(_weather(namespace, "keyless", OSLO),),
        )
        for name, reason in (("lost", "Unreachable"), ("stranger", "Unauthorized"), ("keyless", "SecretMissing")):
            system.wait_reason("thingvisor", name, namespace, "SourceHealthy", reason)
            system.wait_reason("thingvisor", name, namespace, "Ready", reason)
            system.wait_event(name, namespace, reason)
        assert "key-of-keyless" in condition(system.get("thingvisor", "keyless", namespace), "Ready")["message"]
        system.apply(_weather(namespace, "lost", OSLO))
        system.apply(*(_key(namespace, name, "simulated-key") for name in ("stranger", "keyless")))
        for name in ("lost", "stranger", "keyless"):
            system.wait("thingvisor", name, namespace, timeout=150)


def _weather(namespace: str, name: str, params: dict[str, object]) -> dict[str, object]:
    """A ThingVisor with a key of its own."""
    spec = {"type": "openweathermap", "params": params, "secretRef": {"name": f"key-of-{name}"}}
    return custom("ThingVisor", namespace, name, spec)


def _key(namespace: str, name: str, key: str) -> dict[str, object]:
    """The Secret with the key of ThingVisor `name`."""
    metadata = {"name": f"key-of-{name}", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"appid": key}}
