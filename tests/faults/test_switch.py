"""The switch with clients that are killed, input that is random, and a neighbour that wants the CPU.

`make faults` prints the table at the end. Shorter: TEPHRA_FAULTS_CLIENTS (default 1000), TEPHRA_FAULTS_FUZZ_S (600 s).
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from bench.switch import switches
from tests.faults.crowd import Crowd, Life, Witness, under_load, while_connecting
from tests.faults.starving import FLOWS, change
from tests.faults.table import Table
from tests.support import quake
from tests.support.quake import NOT_BUILT, QUAKE

pytestmark = [pytest.mark.faults, pytest.mark.skipif(not QUAKE.exists(), reason=NOT_BUILT)]

CLIENTS = int(os.environ.get("TEPHRA_FAULTS_CLIENTS", "1000"))
FUZZ_S = float(os.environ.get("TEPHRA_FAULTS_FUZZ_S", "600"))
SANITIZED = quake.ROOT / "build/switch-sanitized"
TARGETS = ("openflow", "packet", "control")
MOST_DIFFERENCE = 0.05


@pytest.mark.parametrize("life", [under_load, while_connecting], ids=["under-load", "connecting"])
def test_clients_that_die_take_nothing_along(life: Life, tmp_path: Path, table: Table) -> None:
    """Eight clients at a time, of memif and vhost-user ports, are killed; two other ports forward on."""
    with quake.running(tmp_path) as switch:
        process, started = switch.process(), time.monotonic()
        crowd, witness = Crowd(switch), Witness(switch)
        held = switch.descriptors()
        with witness:
            killed = crowd.live_and_die(life, CLIENTS)
            assert switch.process() == process, switch.log()
            witness.sees_more()
        quake.until(lambda: switch.descriptors() == held)  # it lets go of what the dead gave it
        row = {"fault": f"kill -9 of clients {life.__name__.replace('_', ' ')}", **killed, "crashes": 0}
        row |= {"packets": crowd.packets(), "packets_of_others": witness.packets, "silence_s": witness.silence_s}
        table.add(row | {"seconds": round(time.monotonic() - started, 1)})


def test_random_input_under_sanitizers(tmp_path: Path, table: Table) -> None:
    """Every fuzz target at once: OpenFlow messages, packets, the control socket."""
    _build_sanitized()
    running = {target: _fuzz(target, tmp_path / target) for target in TARGETS}
    said = {target: process.communicate() for target, process in running.items()}
    findings = {target: said[target] for target, process in running.items() if process.returncode}
    inputs = {f"inputs_{target}": int(out.split()[0]) for target, (out, _) in said.items() if target not in findings}
    table.add({"fault": f"random input for {FUZZ_S:g} s under sanitizers", **inputs, "findings": len(findings)})
    assert not findings, f"the inputs are in {tmp_path}/*/crash: {findings}"


def _build_sanitized() -> None:
    if not (SANITIZED / "build.ninja").exists():
        # What the compiler warns of in instrumented code is often no fault of the code.
        options = ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dwerror=false"]
        subprocess.run(["meson", "setup", *options, str(SANITIZED), str(quake.ROOT / "switch")], check=True)
    subprocess.run(["ninja", "-C", str(SANITIZED), *(f"tests/fuzz/fuzz_{target}" for target in TARGETS)], check=True)


def _fuzz(target: str, home: Path) -> "subprocess.Popen[str]":
    """A running fuzz target; it stops at the first finding, and leaves its input in the file `crash`."""
    home.mkdir()
    # What DPDK and the switch hold until the process ends is no leak.
    sanitizers = {"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", "ASAN_OPTIONS": "detect_leaks=0"}
    command = [str(SANITIZED / f"tests/fuzz/fuzz_{target}"), f"-seconds={FUZZ_S:g}", f"-seed={time.time_ns()}"]
    (home / "command").write_text(" ".join(command))
    env = os.environ | sanitizers
    return subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_starved_core_costs_no_more_than_testpmd(table: Table) -> None:
    """Packets per CPU-second on one core while the other is fought over, as a share of those while it is quiet."""
    if reason := _cannot_measure():
        pytest.skip(reason)
    raw, ours = change(switches.dpdk_testpmd), change(switches.quake)
    row = {"fault": f"the other core starved, {FLOWS} flows", "testpmd": raw, "quake": ours}
    table.add({**row, "difference": round(ours - raw, 3)})
    assert ours >= raw - MOST_DIFFERENCE


def _cannot_measure() -> str | None:
    if os.geteuid() != 0:
        return "huge pages need root"
    if (os.cpu_count() or 1) < 2:
        return "there is no other core"
    if not shutil.which("dpdk-testpmd"):
        return "dpdk-testpmd is not installed: run `requirements/debian.sh bench-switch`"
    return None
