"""Code and manifests shown in guides run as they are shown."""

import re
from typing import Any

import yaml

from tephra.api.validate import validate_object
from tephra.things.testing import running
from tests.support.system import ROOT


async def test_the_smallest_thingvisor_of_the_guide_publishes() -> None:
    [code] = re.findall(r"   ```python\n(.*?)   ```", (ROOT / "thingvisors/README.md").read_text(), re.S)
    module: dict[str, Any] = {"__name__": "guide"}
    exec(re.sub(r"^   ", "", code, flags=re.M), module)
    async with running(module["Thermometer"], {"period": 0.01}) as trial:
        entity = await trial.entity("room", "urn:ngsi-ld:Room:1")
    assert entity["temperature"]["value"] == 21.5


def test_manifests_of_the_user_guide_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/user-guide.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        for manifest in yaml.safe_load_all(block):
            assert validate_object(manifest) == []
