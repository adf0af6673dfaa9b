"""Row 1: 64-byte packets through exact rules on one core, from 1 to 100,000 flows."""

from bench.report import emit
from bench.switch import throughput
from bench.switch.traffic import exact_five_tuple, exact_l2

FLOWS = (1, 64, 1_024, 10_000, 100_000)
BARS = {
    "exact L2": {1: 2.0, 64: 2.0, 1_024: 2.0, 10_000: 4.0, 100_000: 7.0},
    "exact 5-tuple": {1: 1.5, 64: 1.5, 1_024: 2.0, 10_000: 4.0, 100_000: 7.0},
}


def run(quick: bool) -> None:
    """Every number of flows: the raw limit, then both rule sets on OVS and on quake."""
    for flows in FLOWS[:2] if quick else FLOWS:
        rules = {"exact L2": exact_l2(flows), "exact 5-tuple": exact_five_tuple(flows)}
        with throughput.traffic(flows, (64,)) as devices:
            raw = throughput.raw(devices, flows)
            peers = throughput.ovs(devices, flows, rules)
            ours = throughput.quake(devices, flows, rules)
        for name in rules:
            ratio, bar = ours[name].mpps / peers[name].mpps, BARS[name][flows]
            emit(
                "switch", 1, f"{name}, 64 bytes, {flows} flows", ours[name].mpps, "Mpps per CPU-second",
                peer=peers[name].mpps, ratio=ratio, bar=f">= {bar:g}", holds=ratio >= bar, noise=ours[name].noise,
                peer_noise=peers[name].noise, raw=raw.mpps,
            )  # fmt: skip
