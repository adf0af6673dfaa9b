"""What every file of faults has: the table of its rows."""

from collections.abc import Iterator

import pytest

from tests.faults.table import Table


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """The rows of a file; printed when all its faults are over."""
    made = Table()
    yield made
    if made.rows:
        made.print()
