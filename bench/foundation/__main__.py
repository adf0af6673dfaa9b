"""Runs the rows of the foundation's benchmark: `python -m bench.foundation [--row N] [--quick]`.

Every module named in :data:`ROWS` has ``run(quick: bool) -> None``, which sets up what it needs, prints its rows by
:mod:`bench.report`, and cleans up. Rows that fail or take too long are reported and the others still run; the exit code
then is 1.
"""

import argparse
import importlib
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from bench.report import progress

ROWS = {
    1: ("first_data", "make run to first data"),
    2: ("silo", "VSilo accepted → first entity at the tenant"),
    3: ("attach", "vThing added to a running silo → first data"),
    4: ("relay", "CPU per message, ThingVisor → silo"),
    6: ("engine", "writes and CPU per object"),
}
LIMIT_S, QUICK_LIMIT_S = 30 * 60, 2 * 60


def main() -> int:
    """Run the rows asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.foundation", description=__doc__.split("\n")[0])
    parser.add_argument("--row", type=int, choices=sorted(ROWS), help="only this row")
    parser.add_argument("--quick", action="store_true", help="at most two minutes a row")
    options = parser.parse_args()
    limit, failed = QUICK_LIMIT_S if options.quick else LIMIT_S, False
    for row in [options.row] if options.row else sorted(ROWS):
        module, title = ROWS[row]
        progress(f"row {row}: {title}")
        try:
            with _at_most(limit):
                importlib.import_module(f"bench.foundation.{module}").run(quick=options.quick)
        except Exception:
            traceback.print_exc()
            failed = True
    return int(failed)


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in the block, wherever it is, when it takes longer."""

    def end(*_: object) -> NoReturn:
        raise TimeoutError(f"the row took longer than {seconds} s")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    sys.exit(main())
