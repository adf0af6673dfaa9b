"""The models and a real API server accept and refuse the same manifests (server-side dry run, strict fields)."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tephra.api.kinds import KINDS
from tephra.api.validate import validate_object
from tests.properties.conftest import Verdict
from tests.support.manifests import bent, candidates

EXAMPLES = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def agree(judge: Verdict, manifest: dict[str, Any]) -> None:
    ours, theirs = validate_object(manifest), judge(manifest)
    assert bool(ours) == bool(theirs), f"{manifest}\nmodels: {ours}\nAPI server: {theirs}"


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(data=st.data())
def test_schema_conforming_manifests_get_the_same_answer(judge: Verdict, kind: str, data: st.DataObject) -> None:
    agree(judge, data.draw(candidates(kind)))


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(data=st.data())
def test_nearly_valid_manifests_get_the_same_answer(judge: Verdict, kind: str, data: st.DataObject) -> None:
    agree(judge, data.draw(bent(kind)))
