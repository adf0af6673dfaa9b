"""The rows of the placement benchmark: `python -m bench.placement [--row N] [--quick]`; see :mod:`bench.rows`."""

import sys

from bench.rows import main

ROWS = {
    1: ("speed", "one subscription of 60 functions on Interoute"),
    2: ("exactness", "segment A* against the papers' ILP"),
    3: ("acceptance", "100 chains at 90 % offered load"),
    4: ("scale", "how cost grows with nodes, sites, functions"),
    5: ("scheduling", "function scheduling, cold and warm"),
    6: ("consolidation", "a day of 1,000 VMs over 800 hosts"),
    7: ("forecasts", "forecasts against the daily seasonal naive"),
    8: ("graphs", "virtual networks on Waxman and GEANT-like networks"),
    9: ("bad_input", "bad input: refused, never placed wrongly"),
}

if __name__ == "__main__":
    sys.exit(main("placement", ROWS))
