"""Bad input meets a condition with a reason, an Event, no harm to the rest, and recovery when mended (issue row 7).

What a schema or CEL can refuse, the API server refuses alone: `tests/properties` and `tests/data/bad`.
"""

import pytest

from tests.support.system import System, custom, hello, silo

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


@pytest.mark.parametrize(
    ("params", "key", "reason"),
    [
        ({"baseUrl": "http://nobody.{namespace}.svc.cluster.local:8080"}, "simulated-key", "Unreachable"),
        ({}, "wrong-key", "Unauthorized"),
    ],
)
def test_upstream_trouble_is_named_and_mended(
    system: System, weather: None, params: dict[str, str], key: str, reason: str
) -> None:
    with system.namespace("up") as namespace:
        bad = {name: value.format(namespace=namespace) for name, value in params.items()}
        _weather(system, namespace, OSLO | bad, key)
        system.wait_reason("thingvisor", "weather", namespace, "SourceHealthy", reason)
        system.wait_reason("thingvisor", "weather", namespace, "Ready", reason)
        system.wait_event("weather", namespace, reason)
        _weather(system, namespace, OSLO, "simulated-key")
        system.wait("thingvisor", "weather", namespace, timeout=150)


def test_missing_secret_then_it_is_made(system: System, weather: None) -> None:
    with system.namespace("bad") as namespace:
        spec = {"type": "openweathermap", "params": OSLO, "secretRef": {"name": "owm"}}
        system.apply(custom("ThingVisor", namespace, "weather", spec))
        assert "owm" in system.wait_reason("thingvisor", "weather", namespace, "Ready", "SecretMissing")
        system.wait_event("weather", namespace, "SecretMissing")
        _weather(system, namespace, OSLO, "simulated-key")
        system.wait("thingvisor", "weather", namespace, timeout=150)


def _weather(system: System, namespace: str, params: dict[str, object], key: str) -> None:
    """A ThingVisor in its own namespace with its own key."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "owm", "namespace": namespace}}
    system.apply(secret | {"stringData": {"appid": key}})
    spec = {"type": "openweathermap", "params": params, "secretRef": {"name": "owm"}}
    system.apply(custom("ThingVisor", namespace, "weather", spec))
