"""Row 6: flow-mods from one OpenFlow connection into a switch that forwards, beside the same into OVS.

`quake-openflow-rate` (switch/bench) is the controller: byte templates over the switch's own unix socket, one barrier
behind the batch; then one flow and one barrier at a time. The switch forwards 64-byte packets of 256 flows by exact
rules in the same table all the while, so that what is added goes into a table that is being read.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.switch.switches import BUILD, OvsDpdk, Quake
from bench.switch.traffic import exact_l2

FORWARDED_FLOWS = 256


@dataclass(frozen=True, slots=True)
class FlowMods:
    """What one switch did: flows per second up to the barrier's reply; round trips of one flow + barrier, in us."""

    switch: str
    flows: int
    bundle: bool
    flows_per_s: float
    present: int
    p50_us: float
    p99_us: float
    max_us: float
    forwarded: int


def measure(
    switch: Quake | OvsDpdk, *, flows: int = 100_000, singles: int = 10_000, bundle: bool = False, build: Path = BUILD
) -> FlowMods:
    """Load the rules that forward, then measure; RuntimeError with the client's words when the switch refuses.

    `forwarded` counts the packets that left meanwhile: it must not be 0, or the switch was not busy."""
    switch.load(exact_l2(FORWARDED_FLOWS))
    before = switch.sent()
    command = [str(build / "bench/quake-openflow-rate"), switch.target, "--clear"]
    sizes = ["--flows", str(flows), "--singles", str(singles), *(["--bundle"] if bundle else [])]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{switch.name}: {done.stderr.strip()}")
    said = json.loads(done.stdout)
    single = said["single_us"]
    return FlowMods(
        switch=switch.name,
        flows=flows,
        bundle=bundle,
        flows_per_s=said["flows_per_s"],
        present=said["present"],
        p50_us=single["p50"],
        p99_us=single["p99"],
        max_us=single["max"],
        forwarded=switch.sent() - before,
    )
