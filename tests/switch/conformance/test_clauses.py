"""The suite against its own lists: no clause without a case, no difference of a case that is not there."""

from pathlib import Path

import pytest

from .clauses import CLAUSES
from .differences import DIFFERENCES, table


def _cases(request: pytest.FixtureRequest) -> list[pytest.Item]:
    return [item for item in request.session.items if item.get_closest_marker("clause")]


def _needs_all(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("keyword") or any("::" in arg or arg.endswith(".py") for arg in request.config.args):
        pytest.skip("only part of the suite was asked for")


def test_every_clause_has_a_case(request: pytest.FixtureRequest) -> None:
    _needs_all(request)
    covered = {name for item in _cases(request) for marker in item.iter_markers("clause") for name in marker.args}
    assert sorted(set(CLAUSES) - covered) == []


def test_every_difference_is_of_a_case(request: pytest.FixtureRequest) -> None:
    _needs_all(request)
    names = {item.name.replace("ovs-", "", 1).replace("[ovs]", "") for item in _cases(request)}
    assert sorted(set(DIFFERENCES) - names) == []


def test_the_readme_has_the_table() -> None:
    assert table() in (Path(__file__).parent / "README.md").read_text()
