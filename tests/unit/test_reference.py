"""The generated reference: up to date and complete."""

from pathlib import Path

from tephra.api import reference
from tephra.api.conditions import CAUSE, MEANING, Reason, Type
from tephra.api.crd import sync

ROOT = Path(__file__).parents[2]


def test_files_are_up_to_date() -> None:
    assert sync(ROOT / "docs/reference", reference.files(), check=True) == [], "run `make crds`"


def test_everything_is_explained() -> None:
    assert set(MEANING) == set(Type)
    assert set(CAUSE) == set(Reason)


def test_fields_carry_their_facts() -> None:
    page = reference.kinds_page()
    assert "| `spec.vThings[].id` | string | *Required.* namespace/thingVisor/thing." in page
    assert "`spec.exposure`" in page
    assert "Default: `ClusterIP`." in page
    assert "- `metadata.name`: the name of a VThing is" in page
