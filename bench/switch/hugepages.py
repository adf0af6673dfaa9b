"""Huge pages for the time of a benchmark: reserved before, given back after. Needs root."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

RESERVED = Path("/proc/sys/vm/nr_hugepages")
ENOUGH = 1_100  # of 2 MiB: what OVS-DPDK and a file of 100,000 packets take


@contextlib.contextmanager
def hugepages(count: int = ENOUGH) -> Iterator[None]:
    """At least `count` huge pages reserved; RuntimeError when the machine has not as many to give."""
    before = int(RESERVED.read_text())
    try:
        if before < count:
            RESERVED.write_text(str(count))
            if (given := int(RESERVED.read_text())) < count:
                raise RuntimeError(f"the machine gave {given} of {count} huge pages; free some memory and run again")
        yield
    finally:
        if before < count:
            RESERVED.write_text(str(before))
