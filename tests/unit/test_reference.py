"""The generated reference: up to date, and complete in both directions."""

import re
from pathlib import Path

from tephra.api import reference
from tephra.api.conditions import CAUSE, MEANING, Reason, Type
from tephra.api.crd import sync

ROOT = Path(__file__).parents[2]
VOCABULARY = ROOT / "operator/tephra/api/conditions.py"


def used(enum: str) -> set[str]:
    """Members of an enum that the operator's code names."""
    sources = [path for path in (ROOT / "operator/tephra").rglob("*.py") if path != VOCABULARY]
    return {name for path in sources for name in re.findall(rf"\b{enum}\.([A-Z_]+)\b", path.read_text())}


def test_files_are_up_to_date() -> None:
    assert sync(ROOT / "docs/reference", reference.files(), check=True) == [], "run `make crds`"


def test_everything_is_explained() -> None:
    assert set(MEANING) == set(Type)
    assert set(CAUSE) == set(Reason)


def test_every_reason_is_used_by_somebody() -> None:
    assert used("Reason") == {reason.name for reason in Reason}


def test_every_condition_is_used_by_somebody() -> None:
    assert used("Type") >= {kind.name for kind in Type}


def test_fields_carry_their_facts() -> None:
    page = reference.kinds_page()
    assert "| `spec.vThings[].id` | string | *Required.* namespace/thingVisor/thing." in page
    assert "`spec.exposure`" in page
    assert "Default: `ClusterIP`." in page
    assert "- `metadata.name`: the name of a VThing is" in page
