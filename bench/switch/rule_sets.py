"""Row 2: what is not one exact table: many masks, one wildcard, other sizes, two tables. Nowhere slower than OVS."""

from collections.abc import Iterator, Sequence

from bench.report import emit
from bench.switch import throughput
from bench.switch.traffic import IMIX, exact_five_tuple, locator, masks, wildcard

Rules = dict[str, Sequence[str]]


def run(quick: bool) -> None:
    """Every traffic with the rule sets that belong to it."""
    for flows, sizes, size, rules in _cases(quick):
        with throughput.traffic(flows, sizes) as devices:
            peers = throughput.ovs(devices, flows, rules)
            ours = throughput.quake(devices, flows, rules)
        for name in rules:
            ratio = ours[name].mpps / peers[name].mpps
            emit(
                "switch", 2, f"{name}, {size}, {flows} flows", ours[name].mpps, "Mpps per CPU-second",
                peer=peers[name].mpps, ratio=ratio, bar=">= 1", holds=ratio >= 1, noise=ours[name].noise,
                peer_noise=peers[name].noise,
            )  # fmt: skip


def _cases(quick: bool) -> Iterator[tuple[int, Sequence[int], str, Rules]]:
    for flows in (256,) if quick else (256, 10_000):
        mixed: Rules = {f"{count} masks": masks(flows, count) for count in (4, 16, 64)}
        yield flows, (64,), "64 bytes", mixed | {"one wildcard": wildcard(), "locator": locator(flows)}
    for flows in () if quick else (64, 10_000):
        for sizes, size in ((IMIX, "IMIX"), ((570,), "570 bytes"), ((1518,), "1518 bytes")):
            yield flows, sizes, size, {"exact 5-tuple": exact_five_tuple(flows)}
