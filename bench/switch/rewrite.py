"""Row 3: what rewriting the destination MAC costs, against the same switch without it."""

from bench.report import emit
from bench.switch import throughput
from bench.switch.traffic import exact_five_tuple

FLOWS = (64, 256, 10_000)
REWRITE = "set_field:02:00:30:00:00:01->eth_dst,output:2"
MOST = 0.15  # share of the rate that rewriting may cost


def run(quick: bool) -> None:
    """With and without, on OVS and on quake."""
    for flows in FLOWS[:1] if quick else FLOWS:
        rules = {"output": exact_five_tuple(flows), "set dl_dst, output": exact_five_tuple(flows, REWRITE)}
        with throughput.traffic(flows, (64,)) as devices:
            peers = throughput.ovs(devices, flows, rules)
            ours = throughput.quake(devices, flows, rules)
        cost, peer = (1 - found["set dl_dst, output"].mpps / found["output"].mpps for found in (ours, peers))
        emit(
            "switch", 3, f"cost of set dl_dst, 64 bytes, {flows} flows", cost, "share of the rate", peer=peer,
            bar=f"<= {MOST:g}", holds=cost <= MOST, mpps=ours["set dl_dst, output"].mpps,
            peer_mpps=peers["set dl_dst, output"].mpps, noise=ours["output"].noise,
        )  # fmt: skip
