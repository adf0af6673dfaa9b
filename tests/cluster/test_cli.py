"""kubectl tephra on the running system, called by kubectl as its users call it."""

import json
from collections.abc import Iterator

import pytest

from tests.support.system import System, silo

pytestmark = pytest.mark.cluster


def test_status_draws_a_silo_with_pods_conditions_and_things(system: System, weather: None) -> None:
    lines = system.kubectl("tephra", "status", "-n", "tenant-a", "vsilo/home").splitlines()
    assert lines[0].startswith("✓ VSilo tenant-a/home  Ready: ")
    drawn = "\n".join(lines)
    assert "✓ Deployment silo-home  1/1 ready" in drawn
    assert "✓ Pod silo-home-" in drawn
    assert "✓ Condition BrokerReady" in drawn
    assert "Endpoint mqtts://127.0.0.1:" in drawn
    assert "✓ vThing things/weather/rome  Attached" in drawn


def test_status_of_a_namespace_puts_things_below_their_thingvisor(system: System, weather: None) -> None:
    found = json.loads(system.kubectl("tephra", "-n", "things", "status", "-o", "json"))
    visor = next(node for node in found["items"] if node["name"] == "things/weather")
    assert visor["health"] == "good"
    assert "things/weather.rome (weather/rome)" in {child["name"] for child in visor["children"]}
    assert found["notes"] == []


def test_why_of_a_working_silo(system: System, weather: None) -> None:
    said = system.kubectl("tephra", "why", "-n", "tenant-a", "vsilo/home")
    assert said.startswith("VSilo tenant-a/home works: ")


@pytest.fixture
def lonely(system: System) -> Iterator[str]:
    """A namespace with a silo that lists a vThing of a ThingVisor that does not exist."""
    with system.namespace("lonely") as namespace:
        system.apply(silo(namespace, "lonely", f"{namespace}/nobody/nothing"))
        system.wait_reason("vsilo", "lonely", namespace, "Ready", "VThingNotFound")
        yield namespace


def test_why_names_cause_and_next_step(system: System, lonely: str) -> None:
    said = system.kubectl("tephra", "why", "-n", lonely, "vsilo/lonely")
    assert said.startswith("VSilo ")
    assert f"{lonely}/nobody/nothing" in said
    assert "(VThingNotFound). Next: " in said


def test_tail_shows_live_data(system: System, weather: None) -> None:
    options = ("-n", "tenant-a", "--count", "5", "--timeout", "60", "-o", "json")
    messages = [json.loads(line) for line in system.kubectl("tephra", "tail", "vsilo/home", *options).splitlines()]
    assert len(messages) == 5
    assert all(message["topic"].startswith("tenant-a/things/weather/") for message in messages)
    assert all(message["payload"]["id"].startswith("urn:ngsi-ld:") for message in messages)


def test_tail_without_an_external_endpoint_says_what_to_do(system: System) -> None:
    with system.namespace("inside") as namespace:
        system.apply(silo(namespace, "inside", exposure="ClusterIP"))
        system.wait("vsilo", "inside", namespace)
        done = system.run("kubectl", "tephra", "tail", "-n", namespace, "vsilo/inside", check=False)
    assert done.returncode == 1
    assert "spec.exposure" in done.stderr


def test_dry_run_of_uninstall_covers_all_and_deletes_nothing(system: System, weather: None) -> None:
    listed = system.kubectl("tephra", "uninstall", "--dry-run").splitlines()
    for what in (
        *("VSilo tenant-a/home", "ThingVisor things/weather", "Flavour mqtt", "ThingVisorType openweathermap"),
        *(
            "Deployment tephra-system/tephra-operator",
            "Secret tephra-system/tephra-ca",
            "Lease tephra-system/tephra-operator",
        ),
        "CustomResourceDefinition vsilos.tephra.dev",
    ):
        assert f"would delete {what}" in listed
    assert system.get("vsilo", "home", "tenant-a")["spec"]["flavour"] == "mqtt"
