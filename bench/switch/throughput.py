"""Recipe A: what one core forwards, with a source and a sink inside the process (rows 1 to 3 are built on this).

Port 1 replays a file of packets without end, port 2 throws away; so no second core takes part. The figure is packets
per CPU-second of the forwarding thread: the median of windows of one second, with their noise.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import noise, progress
from bench.switch import switches
from bench.switch.hugepages import hugepages
from bench.switch.switches import Switch
from bench.switch.traffic import LEAST_PACKETS, write_pcap

WINDOWS, WINDOW_S = 5, 1.0
SPARE_MBUFS = 16_384
QUAKE_WARM_S = 1.0  # nothing to learn: only for the clock


@dataclass(frozen=True, slots=True)
class Figure:
    """Million packets per CPU-second: median and best window, and how far windows differ."""

    mpps: float
    best: float
    noise: float


@contextlib.contextmanager
def traffic(flows: int, sizes: Sequence[int]) -> Iterator[tuple[str, str]]:
    """The devargs of the source and the sink, and huge pages for whoever opens them."""
    with tempfile.TemporaryDirectory(prefix="tephra-bench-pcap-") as home, hugepages():
        path = write_pcap(Path(home) / "packets.pcap", flows, sizes)
        yield f"net_pcap0,rx_pcap={path},infinite_rx=1", "net_null0,no-rx=1"


def raw(devices: Sequence[str], flows: int) -> Figure:
    """testpmd's io forwarding: the limit of the two devices."""
    with switches.dpdk_testpmd(devices, mbufs=_mbufs(flows)) as testpmd:
        return _measure(testpmd, "io", QUAKE_WARM_S)


def ovs(devices: Sequence[str], flows: int, rule_sets: Mapping[str, Sequence[str]]) -> dict[str, Figure]:
    """OVS-DPDK with each rule set in turn, warm: its caches take up to 40 s to fill with 100,000 flows."""
    warm_s = 2 if flows <= 1_024 else 6 if flows <= 10_000 else 40
    with switches.ovs(devices) as switch:
        return {name: _loaded(switch, name, rules, warm_s) for name, rules in rule_sets.items()}


def quake(devices: Sequence[str], flows: int, rule_sets: Mapping[str, Sequence[str]]) -> dict[str, Figure]:
    """quake with each rule set in turn."""
    with switches.quake(devices, mbufs=_mbufs(flows)) as switch:
        return {name: _loaded(switch, name, rules, QUAKE_WARM_S) for name, rules in rule_sets.items()}


def _mbufs(flows: int) -> int:
    return max(flows, LEAST_PACKETS) * 2 + SPARE_MBUFS


def _loaded(switch: Switch, name: str, rules: Sequence[str], warm_s: float) -> Figure:
    switch.load(rules)
    return _measure(switch, name, warm_s)


def _measure(switch: Switch, name: str, warm_s: float) -> Figure:
    time.sleep(warm_s)
    worker = switch.worker()
    rates = []
    for _ in range(WINDOWS):
        packets, cpu_ns = switch.sent(), worker.cpu_ns()
        time.sleep(WINDOW_S)
        rates.append((switch.sent() - packets) / (worker.cpu_ns() - cpu_ns) * 1e3)
    figure = Figure(statistics.median(rates), max(rates), noise(rates))
    progress(f"{switch.name}, {name}: {figure.mpps:.2f} Mpps per CPU-second")
    return figure
