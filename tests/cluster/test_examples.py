"""Every example of manifests for real: applied as it is, Ready, its data and commands seen by the tenant's own client.

examples/placement is for the command line, not for the cluster: tests/unit/placement runs it.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.system import ROOT, System

pytestmark = pytest.mark.cluster

MANIFESTS = (path for path in (ROOT / "examples").glob("*/*.yaml") if "apiVersion:" in path.read_text())
FOLDERS = sorted({path.parent for path in MANIFESTS})


def _objects(kind: str, folders: Sequence[Path] = FOLDERS) -> Iterator[dict[str, Any]]:
    for path in (path for folder in folders for path in sorted(folder.glob("*.yaml"))):
        yield from (item for item in yaml.safe_load_all(path.read_text()) if item and item["kind"] == kind)


@pytest.fixture(scope="module")
def examples(system: System) -> None:
    """All of them, applied at once and Ready."""
    system.apply(*FOLDERS)
    for item in (*_objects("ThingVisor"), *_objects("VSilo")):
        system.wait(item["kind"], item["metadata"]["name"], item["metadata"]["namespace"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_listed_vthing_speaks_at_its_silo(system: System, examples: None, folder: Path) -> None:
    silos = list(_objects("VSilo", [folder]))
    assert silos, "an example without a silo shows nothing"
    for item in silos:
        space, awaited = item["metadata"]["namespace"], {thing["id"] for thing in item["spec"]["vThings"]}
        with system.at_silo(item["metadata"]["name"], space) as tenant:
            tenant.subscribe(f"{space}/+/+/+/+")
            while awaited:
                message = tenant.next()
                assert json.loads(message.payload)["id"].startswith("urn:ngsi-ld:")
                awaited.discard("/".join(message.topic.split("/")[1:4]))


def test_weather_is_observed_with_units_and_times(system: System, examples: None) -> None:
    with system.at_silo("home", "tenant-a") as tenant:
        tenant.subscribe("tenant-a/things/weather/rome/+")
        entity: dict[str, Any] = json.loads(tenant.next().payload)
    assert entity["type"] == "WeatherObserved"
    assert entity["temperature"]["unitCode"]
    assert entity["temperature"]["observedAt"].endswith("Z")


HALL = "tenant-b/things/counters/hall/HelloSensor:hall:1"
GARDEN = "tenant-b/things/counters/garden/HelloSensor:garden:1"


def test_mqtt_example_takes_commands_where_they_are_asked_for(system: System, examples: None) -> None:
    """The garden is sent to first, so that when the hall has answered, the garden's answer would be there too."""
    with system.at_silo("remote", "tenant-b") as tenant:
        tenant.subscribe("#")
        tenant.publish(f"{GARDEN}/set-counter", "1000000")
        tenant.publish(f"{HALL}/set-counter", "1000")
        status = tenant.until(lambda m: m.topic == f"{HALL}/set-counter/status")
        assert json.loads(status.payload)["cmd-status"] == "setting"
        result = tenant.until(lambda m: m.topic == f"{HALL}/set-counter/result")
        assert json.loads(result.payload)["cmd-result"] == {"counter": 1000}
        assert 1000 < _counter(tenant.until(lambda m: m.topic == HALL and _counter(m.payload) != 1000).payload) < 1100
        assert _counter(tenant.until(lambda m: m.topic == GARDEN).payload) < 1000000
    assert not [message.topic for message in tenant.messages if message.topic.startswith(f"{GARDEN}/set-counter/")]


def test_mqtt_example_readme_can_be_pasted(system: System, examples: None, tmp_path: Path) -> None:
    """Its shell lines as they are, but that mosquitto_sub ends after one message; the number is one of our own."""
    text = (ROOT / "examples/mqtt/README.md").read_text()
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ") and " tail " not in line]
    script = "\n".join(lines[lines.index(next(line for line in lines if line.startswith("url="))) :])
    script = script.replace("mosquitto_sub -v", "mosquitto_sub -C 1 -W 10").replace(" &", "").replace("1000", "500000")
    with system.at_silo("remote", "tenant-b") as tenant:
        tenant.subscribe(HALL)
        shown = system.run("bash", "-euc", f"cd {tmp_path}\n{script}").stdout
        assert json.loads(shown)["id"] == "urn:ngsi-ld:HelloSensor:hall:1"
        tenant.until(lambda m: _counter(m.payload) >= 500000)


def _counter(payload: bytes) -> int:
    return int(json.loads(payload)["counter"]["value"])
