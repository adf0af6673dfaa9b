"""The rows of the switch benchmark: `python -m bench.switch [--row N] [--quick]`; see :mod:`bench.rows`."""

import sys

from bench.rows import main

ROWS = {
    1: ("forwarding", "64 bytes through exact rules on one core"),
    2: ("rule_sets", "many masks, wildcards, other sizes, two tables"),
    3: ("rewrite", "what rewriting the destination MAC costs"),
    4: ("end_to_end", "two cores, over vhost-user"),
    5: ("energy", "loss and CPU by load, with workers that rest"),
    6: ("flow_mods", "flow-mods from one connection while forwarding, and what a million weigh"),
    7: ("atomicity", "a bundle is seen whole or not at all"),
    10: ("restart", "the worker process killed under traffic"),
}

if __name__ == "__main__":
    sys.exit(main("switch", ROWS))
