"""Every reason of the vocabulary is one that some planner gives, and nobody gives others."""

import re
from pathlib import Path

import tephra.plan
import tephra.reconcile
from tephra.api.conditions import Reason, Type


def sources() -> str:
    packages = (tephra.plan, tephra.reconcile)
    return "".join(file.read_text() for package in packages for file in Path(package.__path__[0]).glob("*.py"))


def test_every_reason_is_used() -> None:
    used = set(re.findall(r"\bReason\.([A-Z_]+)\b", sources()))
    assert used == {reason.name for reason in Reason}


def test_every_type_is_used() -> None:
    assert set(re.findall(r"\bType\.([A-Z_]+)\b", sources())) == {type_.name for type_ in Type}
