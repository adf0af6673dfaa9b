"""Recipe B: end to end over vhost-user, the generator on CPU 0 and the switch on CPU 1 (rows 4 and 5).

`quake-generator` (switch/bench) makes both sockets, sends 64-byte packets of 256 flows into one port and counts what
comes out of the other; each switch connects as a vhost-user client, all by the same devargs. Both cores should be
quiet: what else runs on them shows as loss and latency.
"""

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import progress
from bench.switch.hugepages import hugepages
from bench.switch.switches import BUILD, Switch
from bench.switch.traffic import exact_l2, write_pcap

FLOWS, SIZE = 256, 64
LINE_RATE = 14_880_952  # packets/s of 64 bytes at 10 Gb/s
WARM_S = 6.0  # the switch connects, and OVS fills its caches

Open = Callable[[Sequence[str]], contextlib.AbstractContextManager[Switch]]


@dataclass(frozen=True, slots=True)
class Run:
    """One run: packets/s in and out, share lost, latency in us (-1: none seen), CPUs that the worker took."""

    offered: float
    forwarded: float
    lost: float
    p50_us: float
    p99_us: float
    cpus: float


def run(open_switch: Open, rate: float, seconds: float) -> Run:
    """Offer `rate` packets/s (0: all one can) for `seconds` to the switch that `open_switch` starts."""
    with (
        tempfile.TemporaryDirectory(prefix="tephra-bench-vhost-") as home,
        hugepages(),
        _generator(Path(home), rate, seconds) as process,
        open_switch([f"net_vhost{n},iface={home}/{n},client=1" for n in range(2)]) as switch,
    ):
        switch.load(exact_l2(FLOWS))
        _line(process, "go")
        _line(process, "measuring")
        worker, started = switch.worker(), time.monotonic()
        before = worker.cpu_ns()
        time.sleep(seconds * 0.95)
        cpus = (worker.cpu_ns() - before) / (time.monotonic() - started) / 1e9
        return _result(json.loads(_line(process, "{")), cpus, switch.name)


def _result(report: dict[str, float], cpus: float, name: str) -> Run:
    sent, received, seconds = report["sent"], report["received"], report["seconds"]
    lost = max(0.0, 1 - received / sent) if sent else 0.0
    found = Run(sent / seconds, received / seconds, lost, report["p50_us"], report["p99_us"], cpus)
    progress(
        f"{name}: {found.offered / 1e6:.2f} Mpps offered, {found.forwarded / 1e6:.2f} forwarded, "
        f"{found.lost:.2%} lost, p50 {found.p50_us:.0f} us, {cpus:.2f} CPUs"
    )
    return found


@contextlib.contextmanager
def _generator(home: Path, rate: float, seconds: float) -> Iterator["subprocess.Popen[str]"]:
    devices = [f"--vdev=net_virtio_user{n},path={home}/{n},server=1,queue_size=1024" for n in range(2)]
    eal = ["-l", "0", "--in-memory", "--no-pci", "--single-file-segments", "--no-telemetry", "--log-level=error"]
    what = ["--pcap", str(write_pcap(home / "packets.pcap", FLOWS, (SIZE,))), "--rate", str(rate)]
    command = [str(BUILD / "bench/quake-generator"), *eal, *devices, "--", *what]
    command += ["--seconds", str(seconds), "--warmup", str(WARM_S)]
    env = os.environ | {"XDG_RUNTIME_DIR": str(home), "RUNTIME_DIRECTORY": str(home)}
    with (home / "generator.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        deadline = time.monotonic() + 30
        while not (home / "0").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def _line(process: "subprocess.Popen[str]", beginning: str) -> str:
    """The next line of the generator, which must begin so."""
    assert process.stdout
    if not (line := process.stdout.readline()).startswith(beginning):
        raise RuntimeError(f"the generator said {line!r} and ended with {process.wait(10)}, not {beginning!r}")
    return line
