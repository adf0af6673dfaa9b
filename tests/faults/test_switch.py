"""The switch under clients that are killed, input that is random, and a neighbour that wants the CPU.

`make faults` runs it; TEPHRA_FAULTS_CLIENTS (default 1000) and TEPHRA_FAULTS_FUZZ_S (default 600) make it shorter.
"""

import functools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.switch import throughput
from bench.switch.traffic import exact_l2

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/switch"
SANITIZED = ROOT / "build/switch-sanitized"
CLIENTS = int(os.environ.get("TEPHRA_FAULTS_CLIENTS", "1000"))
FUZZ_S = int(os.environ.get("TEPHRA_FAULTS_FUZZ_S", "600"))
LOAD_S = 0.3  # under which a client is killed
MOST_CHANGE = 0.05


@pytest.fixture
def quake(tmp_path: Path) -> Iterator[Path]:
    """A supervised quake with a memif and a vhost-user port that forward to each other; the control socket."""
    control, listen = tmp_path / "control", tmp_path / "openflow"
    command = [str(BUILD / "src/process/quake"), "--control", str(control), "--controller", f"punix:{listen}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        _until(control.exists)
        _ctl(control, "port-add", "m", "memif", f"socket={tmp_path}/memif", "number=1")
        _ctl(control, "port-add", "v", "vhost-user", f"socket={tmp_path}/vhost", "number=2")
        for rule in ("in_port=1,actions=output:2", "in_port=2,actions=output:1"):
            subprocess.run(["ovs-ofctl", "-O", "OpenFlow13", "add-flow", f"unix:{listen}", rule], check=True)
        yield control
    finally:
        process.terminate()
        process.wait(10)


def test_clients_that_die_under_load_take_nothing_along(quake: Path) -> None:
    """Each client sends into a memif and a vhost-user port as fast as it can, and is killed."""
    carried = 0
    for _ in range(-(-CLIENTS // 2)):
        client = _client(quake.parent)
        try:
            _until(functools.partial(_both_received_more, quake, _received(quake)))
            time.sleep(LOAD_S)
        finally:
            client.send_signal(signal.SIGKILL)
            client.wait()
        carried = sum(_received(quake))
        assert not json.loads(_ctl(quake, "show"))["restored"], (quake.parent / "log").read_text()
    print(f"\n{CLIENTS} clients killed, {carried} packets received, 0 crashes")


def _client(home: Path) -> "subprocess.Popen[bytes]":
    eal = ["--lcores", "0@(0,1),1@(0,1)", "--no-huge", "-m", "192", "--no-pci", "--no-shconf", "--iova-mode=va"]
    devices = [f"--vdev=net_memif0,role=client,socket={home}/memif,socket-abstract=no"]
    devices += [f"--vdev=net_virtio_user0,path={home}/vhost"]
    how = ["--forward-mode=txonly", "--auto-start", "--no-mlockall", "--total-num-mbufs=8192"]
    command = ["dpdk-testpmd", *eal, "--no-telemetry", f"--file-prefix={home.name}", *devices, "--", *how]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _both_received_more(control: Path, before: list[int]) -> bool:
    return all(now > then for now, then in zip(_received(control), before, strict=True))


def _received(control: Path) -> list[int]:
    return [port["statistics"]["rx_packets"] for port in json.loads(_ctl(control, "--json", "ports"))]


def _ctl(control: Path, *arguments: str) -> str:
    command = [str(BUILD / "tools/quakectl"), "-s", str(control), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _until(true: Callable[[], bool], patience_s: float = 60.0) -> None:
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_random_input_under_sanitizers(tmp_path: Path) -> None:
    """Every fuzz target at once, for ten minutes: packets, OpenFlow messages, the control socket."""
    if not (SANITIZED / "build.ninja").exists():
        options = ["-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dwerror=false"]
        subprocess.run(["meson", "setup", *options, str(SANITIZED), str(ROOT / "switch")], check=True)
    targets = [f"fuzz_{name}" for name in ("packet", "openflow", "control")]
    subprocess.run(["ninja", "-C", str(SANITIZED), *(f"tests/fuzz/{name}" for name in targets)], check=True)
    env = os.environ | {"UBSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": "detect_leaks=0"}
    running = []
    for name in targets:
        (tmp_path / name).mkdir()
        command = ["nice", str(SANITIZED / "tests/fuzz" / name), f"-seconds={FUZZ_S}"]
        running.append(subprocess.Popen(command, cwd=tmp_path / name, env=env, stderr=subprocess.PIPE, text=True))
    findings = {name: process.communicate()[1][-2000:] for name, process in zip(targets, running, strict=True)}
    assert not any(process.returncode for process in running), findings


def test_a_starved_core_costs_no_more_than_testpmd() -> None:
    """Packets per CPU-second with the other core busy, as a share of without: quake's beside testpmd's own."""
    with throughput.traffic(256, (64,)) as devices:
        quiet = throughput.raw(devices, 256).mpps, throughput.quake(devices, 256, _RULES)["L2"].mpps
        hog = subprocess.Popen(["taskset", "-c", "0", "python3", "-c", "while True: pass"])
        try:
            busy = throughput.raw(devices, 256).mpps, throughput.quake(devices, 256, _RULES)["L2"].mpps
        finally:
            hog.kill()
            hog.wait()
    theirs, ours = (after / before for after, before in zip(busy, quiet, strict=True))
    print(f"\nwith core 0 busy: testpmd {theirs:.3f} of before, quake {ours:.3f}")
    assert ours >= theirs - MOST_CHANGE


_RULES = {"L2": exact_l2(256)}
