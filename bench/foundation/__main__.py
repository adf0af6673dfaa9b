"""The rows of the foundation's benchmark: `python -m bench.foundation [--row N] [--quick]`; see :mod:`bench.rows`."""

import sys

from bench.rows import main

ROWS = {
    1: ("first_data", "make run to first data"),
    2: ("silo", "VSilo accepted → first entity at the tenant"),
    3: ("attach", "vThing added to a running silo → first data"),
    4: ("relay", "CPU per message, ThingVisor → silo"),
    6: ("engine", "writes and CPU per object"),
}

if __name__ == "__main__":
    sys.exit(main("foundation", ROWS))
