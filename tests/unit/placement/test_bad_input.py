"""Every case of the catalogue of bad input has the answer it must have; the benchmark's row 9 adds random damage."""

import pytest

from bench.placement.bad_cases import IMPOSSIBLE, MALFORMED, Case
from bench.placement.bad_input import refused_with_cause, refused_with_value_error


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case.what)
def test_what_cannot_be_meant_is_a_value_error_that_names_the_field(case: Case) -> None:
    assert not refused_with_value_error(case)


@pytest.mark.parametrize("case", IMPOSSIBLE, ids=lambda case: case.what)
def test_what_cannot_be_met_is_a_refusal_that_names_the_cause(case: Case) -> None:
    assert not refused_with_cause(case)
