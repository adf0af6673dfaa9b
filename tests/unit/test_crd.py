"""The CRD generator: what it writes, what it refuses, and that ``crds/`` holds just that."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from tephra.api import crd
from tephra.api.base import Cel, FreeForm, ListMap, ListSet, Model
from tephra.api.kinds import KINDS, Kind

CRDS = Path(__file__).parents[2] / "crds"


def fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every property of a schema with its path, depth first."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from fields(schema[keyword], f"{path}[*]")


def schema_of(**annotations: Any) -> dict[str, Any]:
    model = type("Sample", (Model,), {"__annotations__": annotations, "__doc__": "A sample."})
    return crd.half(model, "Sample.spec", defaults=True)


def test_files_are_up_to_date() -> None:
    assert crd.sync(CRDS, crd.files(), check=True) == [], "run `make crds`"


def test_check_names_stale_files_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.run(crd.files(), "", [str(tmp_path), "--check"]) == 1
    assert "vsilos.yaml: stale" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    assert crd.run(crd.files(), "", [str(tmp_path)]) == 0
    assert crd.run(crd.files(), "", [str(tmp_path), "--check"]) == 0


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_contract_of_every_kind(kind: Kind) -> None:
    manifest = crd.manifest(kind)
    version = manifest["spec"]["versions"][0]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    conditions = status["properties"]["conditions"]
    assert status["default"] == {"observedGeneration": -1}
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])
    assert manifest["spec"]["names"]["categories"] == ["tephra"]
    assert manifest["spec"]["names"]["shortNames"]
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]][-1] == "Age"
    assert "Ready" in {column["name"] for column in version["additionalPrinterColumns"]}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_field_is_described(kind: Kind) -> None:
    root = crd.root_schema(kind)
    missing = [
        path for path, field in fields(root) if not path.startswith(".metadata") and not field.get("description")
    ]
    assert missing == []


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_holes_are_params_and_their_schema_only(kind: Kind) -> None:
    holes = {path for path, field in fields(crd.root_schema(kind)) if "x-kubernetes-preserve-unknown-fields" in field}
    assert holes <= {".spec.params", ".spec.params.schema", ".spec.params.example", ".status.example"}


def models(model: type[Model]) -> Iterator[type[Model]]:
    yield model
    for field in model.model_fields.values():
        for found in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(found, type) and issubclass(found, Model):
                yield from models(found)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_rule_has_a_twin_but_transitions(kind: Kind) -> None:
    rules = [rule for model in models(kind.spec) for rule in model.CEL] + list(kind.info.rules)
    assert [rule.rule for rule in rules if (rule.holds is None) != ("oldSelf" in rule.rule)] == []


def test_optional_is_absent_not_null() -> None:
    schema = schema_of(word=Annotated[str | None, Field(max_length=3, description="A word.", default=None)])
    assert schema["properties"]["word"] == {"type": "string", "maxLength": 3, "description": "A word."}


def test_defaults_are_written_unless_empty() -> None:
    word = Annotated[str, Field(max_length=3)]
    properties = schema_of(
        number=Annotated[int, Field(default=0, description="A number.")],
        words=Annotated[list[word], Field(default=[], max_length=2, description="Words.")],
    )["properties"]
    assert properties["number"]["default"] == 0
    assert "default" not in properties["words"]


def test_markers_become_extensions() -> None:
    class Item(Model):
        """An item."""

        key: Annotated[str, Field(max_length=3, description="Its key.")]
        CEL = (Cel("self.key != 'x'", "key must not be x", holds=lambda item: item.key != "x"),)

    word = Annotated[str, Field(max_length=3)]
    schema = schema_of(
        items=Annotated[list[Item], ListMap(("key",)), Field(max_length=2, description="Items.")],
        words=Annotated[list[word], ListSet(), Field(max_length=2, description="Words.")],
        free=Annotated[dict[str, Any], FreeForm(), Field(description="Anything.")],
    )["properties"]
    assert schema["items"]["x-kubernetes-list-map-keys"] == ["key"]
    assert schema["items"]["items"]["x-kubernetes-validations"][0]["rule"] == "self.key != 'x'"
    assert schema["words"]["x-kubernetes-list-type"] == "set"
    assert schema["free"] == {
        "description": "Anything.",
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }


@pytest.mark.parametrize(
    ("annotation", "cause"),
    [
        (Annotated[int | str, Field(description="Either.")], "unions"),
        (Annotated[str, Field(max_length=3)], "no description"),
        (Annotated[str, Field(description="A word.")], "needs maxLength"),
        (Annotated[list[int], Field(description="Numbers.")], "needs maxItems"),
        (Annotated[dict[str, int], Field(description="Numbers.")], "needs maxProperties"),
        (Annotated[set[int], Field(max_length=3, description="Numbers.")], "'uniqueItems'"),
        (Annotated[tuple[int, int], Field(description="A pair.")], "'prefixItems'"),
        (Annotated[int, Field(gt=1, description="A number.")], "'exclusiveMinimum'"),
    ],
)
def test_refuses_what_is_not_structural(annotation: Any, cause: str) -> None:
    with pytest.raises(crd.NotStructural, match=r"Sample\.spec\.field.*" + cause):
        schema_of(field=annotation)
