"""Row 5: what the energy policy costs in loss and saves in CPU, at loads of 0 to 50 % of 10 Gb/s in 64-byte packets.

Beside quake with the policy: quake that spins, whose loss is the baseline of this machine, and OVS-DPDK with
`pmd-maxsleep`. Wake-up latency is that of single packets, 50 ms apart, into a switch that sleeps.
"""

import functools
import statistics

from bench.report import at_most, emit
from bench.switch import switches, two_cores
from bench.switch.two_cores import LINE_RATE, Run

LOADS = (0.01, 0.05, 0.10, 0.20, 0.30, 0.40, 0.50)
RUNS, SECONDS = 3, 5.0
NOTHING = 0.001  # packets/s
SINGLES_PER_S, SINGLES_S = 20, 60.0
MOST_IDLE = 0.01  # CPUs

ENERGY = functools.partial(switches.quake, options=("--policy", "energy"))
SPIN = functools.partial(switches.quake, options=("--policy", "spin"))
OVS = functools.partial(switches.ovs, other_config=("pmd-maxsleep=1000",))


def run(quick: bool) -> None:
    """Every load, then none, then single packets."""
    runs, seconds = (1, 2.0) if quick else (RUNS, SECONDS)
    for load in (0.01, 0.30) if quick else LOADS:
        rate = load * LINE_RATE
        ours, spin, peer = (
            [two_cores.run(opener, rate, seconds) for _ in range(runs)] for opener in (ENERGY, SPIN, OVS)
        )
        _emit_load(load, ours, spin, peer)
    idle = two_cores.run(ENERGY, NOTHING, seconds)
    emit("switch", 5, "CPU at no load", idle.cpus, "CPUs", **at_most(idle.cpus, MOST_IDLE, "CPUs"))
    wake = two_cores.run(ENERGY, SINGLES_PER_S, 5.0 if quick else SINGLES_S)
    emit("switch", 5, "wake-up latency, p50", wake.p50_us, "us", p99=wake.p99_us)


def _emit_load(load: float, ours: list[Run], spin: list[Run], peer: list[Run]) -> None:
    lost, baseline = _median(ours, "lost"), max(run.lost for run in spin)
    cpus, theirs = _median(ours, "cpus"), _median(peer, "cpus")
    emit("switch", 5, f"loss at {load:.0%} load", lost, "share", **at_most(lost, baseline), peer=_median(peer, "lost"))
    emit(
        "switch", 5, f"CPU at {load:.0%} load", cpus, "CPUs", bar="< OVS with pmd-maxsleep", holds=cpus < theirs,
        peer=theirs, ratio=cpus / theirs, p50_us=_median(ours, "p50_us"), p99_us=_median(ours, "p99_us"),
    )  # fmt: skip


def _median(runs: list[Run], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in runs))
