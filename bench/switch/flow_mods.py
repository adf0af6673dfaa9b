"""Row 6: flow-mods from one OpenFlow connection into a switch that forwards, beside the same into OVS.

`quake-openflow-rate` (switch/bench) is the controller: byte templates over the switch's own unix socket, one barrier
behind the batch; then one flow and one barrier at a time. The switch forwards 64-byte packets of 256 flows by exact
rules in the same table all the while, so that what is added goes into a table that is being read. quake's barrier
means in force on every worker; OVS's does not (the conformance suite shows both).
"""

import json
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import at_most, emit, noise, progress
from bench.switch import switches, throughput
from bench.switch.switches import OvsDpdk, Quake
from bench.switch.traffic import exact_l2

FORWARDED_FLOWS = 256
FLOWS, SINGLES, RUNS = 100_000, 10_000, 3
MANY = 1_000_000
LEAST_RATE, MOST_P50_US, MOST_P99_US, MOST_MIB = 200_000, 100, 1_000, 512


@dataclass(frozen=True, slots=True)
class FlowMods:
    """What one switch did: flows per second up to the barrier's reply; round trips of one flow + barrier, in us."""

    flows_per_s: float
    p50_us: float
    p99_us: float
    present: int


def run(quick: bool) -> None:
    """Batches one by one and as a bundle, single flows, and the memory of a million."""
    runs, flows = (1, FLOWS // 10) if quick else (RUNS, FLOWS)
    with throughput.traffic(FORWARDED_FLOWS, (64,)) as devices:
        with switches.ovs(devices) as switch:
            peers = _measured(switch, runs, flows)
        with switches.quake(devices) as switch:
            ours = _measured(switch, runs, flows)
            mib = _memory(switch, flows if quick else MANY)
    for what in ours:
        _emit_rates(what, ours[what], peers[what])
    _emit_latency([figure for figures in ours.values() for figure in figures],
                  [figure for figures in peers.values() for figure in figures])  # fmt: skip
    emit("switch", 6, f"memory of {flows if quick else MANY} exact flows", mib, "MiB", **at_most(mib, MOST_MIB, "MiB"))


def _emit_rates(what: str, ours: list[FlowMods], peers: list[FlowMods]) -> None:
    rates = [figure.flows_per_s for figure in ours]
    rate, peer = statistics.median(rates), statistics.median(figure.flows_per_s for figure in peers)
    emit(
        "switch", 6, f"flows from one connection while forwarding, {what}", rate, "flows/s", peer=peer,
        ratio=rate / peer, bar=f">= {LEAST_RATE}", holds=rate >= LEAST_RATE, best=max(rates), noise=noise(rates),
    )  # fmt: skip


def _emit_latency(ours: list[FlowMods], peers: list[FlowMods]) -> None:
    for name, limit in (("p50_us", MOST_P50_US), ("p99_us", MOST_P99_US)):
        value, peer = (statistics.median(getattr(figure, name) for figure in figures) for figures in (ours, peers))
        what = f"one flow and a barrier while forwarding, {name[:3]}"
        emit("switch", 6, what, value, "us", peer=peer, ratio=peer / value, **at_most(value, limit, "us"))


def _measured(switch: Quake | OvsDpdk, runs: int, flows: int) -> dict[str, list[FlowMods]]:
    return {
        "one by one": [measure(switch, flows=flows) for _ in range(runs)],
        "as one bundle": [measure(switch, flows=flows, bundle=True) for _ in range(runs)],
    }


def measure(switch: Quake | OvsDpdk, *, flows: int = FLOWS, singles: int = SINGLES, bundle: bool = False) -> FlowMods:
    """Load the rules that forward, then measure.

    RuntimeError with the client's words when the switch refuses, or when it lost flows or did not forward meanwhile."""
    switch.load(exact_l2(FORWARDED_FLOWS))
    before = switch.sent()
    how = ["--clear", "--bundle"] if bundle else ["--clear"]
    said = _client(switch, *how, "--flows", str(flows), "--singles", str(singles))
    if said["present"] != flows + singles:
        raise RuntimeError(f"{switch.name}: {said['present']} of {flows + singles} flows are there")
    if switch.sent() == before:
        raise RuntimeError(f"{switch.name} sent no packet meanwhile: it was not forwarding")
    single = said["single_us"]
    progress(f"{switch.name}: {said['flows_per_s']:,} flows/s, p50 {single['p50']} us, p99 {single['p99']} us")
    return FlowMods(said["flows_per_s"], single["p50"], single["p99"], said["present"])


def _client(switch: Quake | OvsDpdk, *arguments: str) -> dict[str, Any]:
    command = [str(switches.BUILD / "bench/quake-openflow-rate"), switch.target, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{switch.name}: {done.stderr.strip()}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _memory(switch: Quake, flows: int) -> float:
    """MiB by which the switch's process grows when it takes `flows` flows, its journal included."""
    before = _resident_mib(switch.process())
    _client(switch, "--flows", str(flows), "--singles", "0")
    return _resident_mib(switch.process()) - before


def _resident_mib(pid: int) -> float:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024
