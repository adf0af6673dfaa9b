"""Runs the rows of the foundation's benchmark: `python -m bench.foundation [--row N] [--quick]`.

Every module named in :data:`ROWS` has ``run(quick: bool) -> None``, which sets up what it needs, prints its rows by
:mod:`bench.report`, and cleans up. Rows that fail are reported and the others still run; the exit code then is 1.
"""

import argparse
import importlib
import sys
import traceback

from bench.report import progress

ROWS = {
    1: ("first_data", "make run to first data"),
    2: ("silo", "VSilo accepted → first entity at the tenant"),
    3: ("attach", "vThing added to a running silo → first data"),
    4: ("relay", "CPU per message, ThingVisor → silo"),
    6: ("engine", "writes and CPU per object"),
}


def main() -> int:
    """Run the rows asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.foundation", description=__doc__.split("\n")[0])
    parser.add_argument("--row", type=int, choices=sorted(ROWS), help="only this row")
    parser.add_argument("--quick", action="store_true", help="at most two minutes a row")
    options = parser.parse_args()
    failed = False
    for row in [options.row] if options.row else sorted(ROWS):
        module, title = ROWS[row]
        progress(f"row {row}: {title}")
        try:
            importlib.import_module(f"bench.foundation.{module}").run(quick=options.quick)
        except Exception:
            traceback.print_exc()
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
