"""How a benchmark's rows are run: `python -m bench.NAME [--row N] [--quick]`, from each benchmark's `__main__`.

Every row is a module of the benchmark with ``run(quick: bool) -> None``, which sets up what it needs, prints its rows
by :mod:`bench.report`, and cleans up. Rows that fail or take too long are reported and the others still run; the exit
code then is 1.
"""

import argparse
import importlib
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

from bench.report import progress

LIMIT_S, QUICK_LIMIT_S = 30 * 60, 2 * 60


def main(bench: str, rows: Mapping[int, tuple[str, str]]) -> int:
    """Run the rows asked for; `rows` maps numbers to module names and titles. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{bench}")
    parser.add_argument("--row", type=int, choices=sorted(rows), help="only this row")
    parser.add_argument("--quick", action="store_true", help="at most two minutes a row")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # rows clean up whatever ends them
    limit, failed = QUICK_LIMIT_S if options.quick else LIMIT_S, False
    for row in [options.row] if options.row else sorted(rows):
        module, title = rows[row]
        progress(f"row {row}: {title}")
        try:
            with _at_most(limit):
                importlib.import_module(f"bench.{bench}.{module}").run(quick=options.quick)
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
