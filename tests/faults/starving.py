"""What a switch forwards on one core while the other is fought over.

The same devices as in bench/switch/throughput.py (a source and a sink within the process). Quiet and busy windows take
turns in the same process, so that a slow change of the machine touches both alike. Neighbour: :mod:`.test_switch`.
"""

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from bench.switch import throughput
from bench.switch.switches import Switch
from bench.switch.traffic import exact_l2

FLOWS = 100_000
"""As many as let a switch with a flow cache collapse when its housekeeping gets no CPU."""
HOGS = 4
TURNS, WINDOW_S = 8, 1.0
WARM_S = 2.0

Open = Callable[..., contextlib.AbstractContextManager[Switch]]


def change(open_switch: Open) -> float:
    """Packets per CPU-second with core 0 busy, as a share of those with it quiet: the median of turns."""
    with throughput.traffic(FLOWS, (64,)) as devices, open_switch(devices, mbufs=2 * FLOWS + 65_536) as switch:
        switch.load(exact_l2(FLOWS))
        time.sleep(WARM_S)
        return round(statistics.median(_turn(switch) for _ in range(TURNS)), 3)


def _turn(switch: Switch) -> float:
    quiet = _rate(switch)
    with busy_core(0):
        return _rate(switch) / quiet


def _rate(switch: Switch) -> float:
    worker = switch.worker()
    packets, cpu_ns = switch.sent(), worker.cpu_ns()
    time.sleep(WINDOW_S)
    return (switch.sent() - packets) / (worker.cpu_ns() - cpu_ns)


@contextlib.contextmanager
def busy_core(core: int) -> Iterator[None]:
    """Processes that each want all of a core."""
    spin: Sequence[str] = ["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"]
    hogs = [subprocess.Popen(spin) for _ in range(HOGS)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
        for hog in hogs:
            hog.wait()
