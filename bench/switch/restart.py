"""Row 10: the worker process is killed (SIGKILL) under traffic; how long until the next packet is forwarded.

A network namespace of our own with three veth pairs; packets that carry the time go in at port 1 every millisecond and
must come out at port 2, and nowhere else. The time counts from just before the kill to the arrival of the first packet
that was sent after it.
"""

import contextlib
import os
import signal
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import at_most, emit, percentile, progress
from bench.switch.switches import BUILD, load

KILLS, PAUSE_S, MOST_MS = 100, 2.5, 300
INTERVAL_S, PATIENCE_S = 0.001, 5.0
ETHERTYPE = b"\x88\xb5"  # for local experiments
HEADER = bytes.fromhex("020000000002020000000001") + ETHERTYPE
RULES = ("in_port=1,actions=output:2", "in_port=2,actions=output:1")


@dataclass(slots=True)
class Arrivals:
    """Frames that came out: (sent, arrived) in seconds at the right port, and how many anywhere else."""

    right: list[tuple[float, float]] = field(default_factory=list)
    wrong: int = 0


def run(quick: bool) -> None:
    """Kill, wait for the first packet, let a spare be ready again; 100 times."""
    kills = 10 if quick else KILLS
    with _network() as sockets, _quake() as control:
        arrivals, stop = Arrivals(), threading.Event()
        threads = [threading.Thread(target=_send, args=(sockets[0], stop))]
        threads += [
            threading.Thread(target=_receive, args=(sockets[n], n == 1, arrivals, stop)) for n in range(len(sockets))
        ]
        for thread in threads:
            thread.start()
        try:
            times = [_kill(control, arrivals, PAUSE_S) for _ in range(kills)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    p50, p99 = statistics.median(times), percentile(times, 99)
    emit("switch", 10, "kill -9 to first packet, p50", p50, "ms", **at_most(p50, MOST_MS, "ms"), kills=kills)
    emit("switch", 10, "kill -9 to first packet, p99", p99, "ms", **at_most(p99, MOST_MS, "ms"), worst=max(times))
    emit("switch", 10, "packets to a wrong port", arrivals.wrong, "packets", **at_most(arrivals.wrong, 0, "packets"))


def _kill(control: Path, arrivals: Arrivals, pause_s: float) -> float:
    time.sleep(pause_s)
    process = _process_of(control)
    killed = time.monotonic()
    os.kill(process, signal.SIGKILL)
    while time.monotonic() < killed + PATIENCE_S:
        for sent, arrived in arrivals.right[-2000:]:
            if sent > killed + INTERVAL_S:
                progress(f"first packet after {(arrived - killed) * 1e3:.1f} ms")
                return (arrived - killed) * 1e3
        time.sleep(0.005)
    return PATIENCE_S * 1e3


def _process_of(control: Path) -> int:
    """The process that listens at the control socket."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(control))
        return int(struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def _send(port: socket.socket, stop: threading.Event) -> None:
    while not stop.wait(INTERVAL_S):
        with contextlib.suppress(OSError):
            port.send(HEADER + struct.pack("d", time.monotonic()) + bytes(46))


def _receive(port: socket.socket, right: bool, arrivals: Arrivals, stop: threading.Event) -> None:
    port.settimeout(0.1)
    while not stop.is_set():
        try:
            frame, address = port.recvfrom(256)
        except TimeoutError:
            continue
        if frame[12:14] != ETHERTYPE or address[2] == socket.PACKET_OUTGOING:
            continue
        if right:
            arrivals.right.append((struct.unpack_from("d", frame, 14)[0], time.monotonic()))
        else:
            arrivals.wrong += 1


NAMESPACE = f"tephra-restart-{os.getpid()}"


@contextlib.contextmanager
def _network() -> Iterator[list[socket.socket]]:
    """Our ends of three veth pairs, whose other ends s1..s3 are in the switch's namespace."""
    names = [f"tr{os.getpid() % 100000}h{n}" for n in (1, 2, 3)]
    _ip("netns", "add", NAMESPACE)
    try:
        for number, name in enumerate(names, start=1):
            _ip("link", "add", name, "type", "veth", "peer", "name", f"s{number}", "netns", NAMESPACE)
            _ip("link", "set", name, "up")
            _ip("-n", NAMESPACE, "link", "set", f"s{number}", "up")
        sockets = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in names]
        for name, raw in zip(names, sockets, strict=True):
            raw.bind((name, 0))
        yield sockets
        for raw in sockets:
            raw.close()
    finally:
        _ip("netns", "del", NAMESPACE)


@contextlib.contextmanager
def _quake() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tephra-restart-") as home:
        control, listen = Path(home) / "control.sock", Path(home) / "openflow.sock"
        command = ["ip", "netns", "exec", NAMESPACE, str(BUILD / "src/process/quake"), "--control", str(control)]
        with (Path(home) / "log").open("wb") as log:
            process = subprocess.Popen([*command, "--controller", f"punix:{listen}"], stderr=log)
        try:
            while not control.exists() and process.poll() is None:
                time.sleep(0.05)
            for n in (1, 2, 3):
                ctl = [str(BUILD / "tools/quakectl"), "-s", str(control), "port-add", f"p{n}", "af_packet"]
                subprocess.run([*ctl, f"interface=s{n}"], check=True, capture_output=True)
            load(f"unix:{listen}", RULES)
            yield control
        finally:
            process.terminate()
            process.wait(10)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
