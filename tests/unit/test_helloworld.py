"""ThingVisor helloworld, and what every folder in thingvisors/ owes."""

import importlib
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from helloworld import HelloWorld, entities, entity_id

from tephra.api.thingvisortype import ThingVisorTypeSpec
from tephra.bus.messages import DeclaredThing, Unicast
from tephra.plan.params import complete
from tephra.things import ThingVisor, run
from tephra.things.main import params_schema
from tephra.things.testing import running

ROOT = Path(__file__).parents[2] / "thingvisors"
FAST = {"period": 0.002}


def counts(values: list[dict[str, Any]]) -> list[int]:
    return [value["counter"]["value"] for value in values]


async def test_it_counts_on_two_entities() -> None:
    async with running(HelloWorld, FAST) as trial:
        first = entity_id("hello", 1)
        await trial.bus.find(lambda: len(trial.values("hello", first)) >= 5)
        assert counts(trial.values("hello", first))[:5] == [1, 2, 3, 4, 5]
        double = await trial.entity("hello", entity_id("hello", 2))
        assert double["doubleCounter"]["value"] % 2 == 0


def test_the_fixture_is_what_it_publishes() -> None:
    fixture = orjson.loads((ROOT / "helloworld/fixtures/hello.json").read_bytes())
    made = list(entities("hello", 21))
    for entity, attribute in ((fixture[0], "counter"), (fixture[1], "doubleCounter")):
        made[fixture.index(entity)][attribute]["observedAt"] = entity[attribute]["observedAt"]
    assert made == fixture


async def test_counters_go_on_when_the_rate_changes() -> None:
    async with running(HelloWorld, FAST) as trial:
        first = entity_id("hello", 1)
        await trial.bus.find(lambda: len(trial.values("hello", first)) >= 5)
        await trial.configure({"rate": 500, "things": ["hello", "hello-2"]})
        await trial.entity("hello-2", entity_id("hello-2", 1))
        seen = counts(trial.values("hello", first))
        assert seen == list(range(1, len(seen) + 1))


async def test_set_counter_shows_at_once_and_counts_on() -> None:
    async with running(HelloWorld, {"period": 3600}) as trial:
        first = (await trial.entity("hello", entity_id("hello", 1)))["id"]
        assert await trial.command("hello", first, "set-counter", 41) == {"counter": 41}
        assert trial.answers("1", Unicast.STATUS) == ["setting"]
        assert counts(trial.values("hello", first)) == [1, 41]


@pytest.mark.parametrize("value", ["41", -1, 1.5, None, True, 2**60])
async def test_set_counter_refuses_what_is_no_number(value: Any) -> None:
    async with running(HelloWorld, {"period": 3600}) as trial:
        answer = await trial.command("hello", entity_id("hello", 1), "set-counter", value)
        assert "whole number" in answer["error"]
        assert "only urn:" in (await trial.command("hello", entity_id("hello", 2), "set-counter", 1))["error"]


async def test_a_declared_thing_counts_from_its_start() -> None:
    made = DeclaredThing(thing="made", revision="1", params={"start": 1000})
    wrong = DeclaredThing(thing="wrong", revision="1", params={"start": "x", "y": 1})
    async with running(HelloWorld, FAST, things=[made, wrong]) as trial:
        assert (await trial.entity("made", entity_id("made", 1)))["counter"]["value"] >= 1001
        assert trial.report
        assert "y: Extra inputs are not permitted" in trial.report.failures[0].message
        report = await trial.configure(FAST)
        assert [thing.thing for thing in report.v_things] == ["hello"]


# -- every folder


FOLDERS = sorted(path.parent for path in ROOT.glob("*/thingvisor.yaml"))


def visor_of(folder: Path) -> type[ThingVisor]:
    module = importlib.import_module(folder.name)
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, ThingVisor) and kind.__module__ == module.__name__
    )


def sorted_lists(node: Any) -> Any:
    """A JSON Schema without the order of its ``required``."""
    if isinstance(node, dict):
        return {key: sorted(value) if key == "required" else sorted_lists(value) for key, value in node.items()}
    return [sorted_lists(item) for item in node] if isinstance(node, list) else node


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_manifest_says_what_the_program_takes(folder: Path) -> None:
    manifest = yaml.safe_load((folder / "thingvisor.yaml").read_text())
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("ThingVisorType", folder.name)
    spec = ThingVisorTypeSpec.model_validate(manifest["spec"])
    assert spec.image == f"localhost/tephra/thingvisor-{folder.name}:dev"
    assert spec.command == ["python3", "-m", folder.name]
    schema = params_schema(visor_of(folder))
    assert sorted_lists(spec.params.schema_) == sorted_lists(schema), orjson.dumps(schema).decode()
    completed = complete(spec.params.schema_, spec.params.example)
    visor_of(folder).Params.model_validate(completed)
    assert complete(spec.params.schema_, {}) is not None


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder_has_readme_and_fixtures(folder: Path) -> None:
    assert (folder / "README.md").exists()
    assert list((folder / "fixtures").iterdir())


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    run(HelloWorld, ["--schema"])
    assert orjson.loads(capsys.readouterr().out) == params_schema(HelloWorld)
