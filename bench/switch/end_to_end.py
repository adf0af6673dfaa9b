"""Row 4: 64 bytes, 256 flows, from one core to another over vhost-user, as a share of what testpmd's io forwards.

All three spin, as testpmd and OVS do by default; what resting costs is row 5's question.
"""

import functools
import statistics

from bench.report import emit, noise
from bench.switch import switches, two_cores

RUNS, SECONDS = 5, 5.0
SWITCHES: dict[str, two_cores.Open] = {
    "testpmd": switches.dpdk_testpmd,
    "ovs": switches.ovs,
    "quake": functools.partial(switches.quake, options=("--policy", "spin")),
}
LEAST_SHARE = 0.70


def run(quick: bool) -> None:
    """testpmd, OVS and quake in turn, several times over; medians."""
    found: dict[str, list[float]] = {name: [] for name in SWITCHES}
    for _ in range(1 if quick else RUNS):
        for name, opener in SWITCHES.items():
            found[name].append(two_cores.run(opener, 0, 2.0 if quick else SECONDS).forwarded)
    rates = {name: statistics.median(values) for name, values in found.items()}
    share = rates["quake"] / rates["testpmd"]
    emit(
        "switch", 4, "vhost-user end to end, 64 bytes, share of testpmd io", share, "share",
        bar=f">= {LEAST_SHARE}", holds=share >= LEAST_SHARE, peer=rates["ovs"] / rates["testpmd"],
        ratio=rates["quake"] / rates["ovs"], noise=noise(found["quake"]) if len(found["quake"]) > 1 else None,
        mpps={name: round(rate / 1e6, 3) for name, rate in rates.items()},
    )  # fmt: skip
