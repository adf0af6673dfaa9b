"""Every manifest of ours that the repository ships (flavours, ThingVisor types, examples) is one that the API takes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tephra.api.kinds import KINDS
from tephra.api.validate import validate_object

ROOT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("flavours", "thingvisors", "examples") for path in (ROOT / folder).rglob("*.yaml"))


def ours(path: Path) -> Iterator[dict[str, Any]]:
    for manifest in yaml.safe_load_all(path.read_text()):
        if manifest and manifest.get("kind") in KINDS:  # the examples of tephra-place are no manifests
            yield manifest


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_manifest_is_valid(path: Path) -> None:
    assert [(manifest["metadata"]["name"], validate_object(manifest)) for manifest in ours(path)] == [
        (manifest["metadata"]["name"], []) for manifest in ours(path)
    ]
