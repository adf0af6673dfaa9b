"""The switches that are measured, behind one interface: start, load rules, count what left, find the thread.

All three take the same DPDK devices by `devargs`, and the two OpenFlow switches the same rules by the same loader,
ovs-ofctl(8). Each runs with a directory of its own, and Open vSwitch in a network namespace of its own, so that nothing
of the host's is touched; leaving the context ends the processes that it started and no other.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.switch.cpu import Thread, find_thread

OVS_DPDK = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
START_S = 60.0


class Switch(Protocol):
    """A running switch with port 1, the source, and port 2, the sink."""

    name: str

    def load(self, rules: Sequence[str]) -> None:
        """Replace all rules; in force on return as far as the switch can say."""

    def sent(self) -> int:
        """Packets that left by port 2 since the start."""

    def worker(self) -> Thread:
        """The thread that forwards."""


@contextlib.contextmanager
def ovs(devices: Sequence[str], *, other_config: Sequence[str] = (), memory_mib: int = 1536) -> Iterator["OvsDpdk"]:
    """OVS-DPDK with `devices` as ports 1.. ; `other_config` are further keys, such as `smc-enable=true`."""
    with _directory("ovs") as home, _namespace(home.name) as netns:
        env = os.environ | dict.fromkeys(("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"), str(home))
        _run(["ovsdb-tool", "create", f"{home}/conf.db", str(SCHEMA)], env)
        inside = ["ip", "netns", "exec", netns]
        sockets = f"--remote=punix:{home}/db.sock", f"--unixctl={home}/db.ctl"
        with _process([*inside, "ovsdb-server", f"{home}/conf.db", *sockets], env, home / "db.log"):
            _await((home / "db.sock").exists, "ovsdb-server")
            switch = OvsDpdk("ovs", home, env)
            settings = ["dpdk-init=true", "dpdk-extra=--no-pci --in-memory", f"dpdk-socket-mem={memory_mib}"]
            switch.vsctl("--no-wait", "init")
            switch.vsctl("--no-wait", "set", "Open_vSwitch", ".", *_settings([*settings, *CORES, *other_config]))
            daemon = [*inside, str(OVS_DPDK), f"unix:{home}/db.sock", f"--unixctl={home}/vs.ctl"]
            with _process([*daemon, f"--log-file={home}/vs.log"], env, home / "vs.out") as process:
                switch.pid = process.pid
                switch.add(devices)
                yield switch


CORES = ("pmd-cpu-mask=0x2", "dpdk-lcore-mask=0x1")


def _settings(pairs: Sequence[str]) -> list[str]:
    return [f'other_config:{key}="{value}"' for key, _, value in (pair.partition("=") for pair in pairs)]


@dataclass(slots=True)
class OvsDpdk:
    """A running ovs-vswitchd with a userspace bridge `br0`."""

    name: str
    home: Path
    env: dict[str, str]
    pid: int = 0

    def vsctl(self, *arguments: str) -> str:
        return _run(["ovs-vsctl", "--timeout=60", f"--db=unix:{self.home}/db.sock", *arguments], self.env)

    def add(self, devices: Sequence[str]) -> None:
        """Make the bridge and its ports; fails with the switch's own words when a device is refused."""
        self.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail-mode=secure")
        for number, devargs in enumerate(devices, start=1):
            port = f"p{number}"
            options = ["type=dpdk", f'options:dpdk-devargs="{devargs}"', f"ofport_request={number}"]
            self.vsctl("add-port", "br0", port, "--", "set", "Interface", port, *options)
            if error := self.vsctl("--if-exists", "get", "Interface", port, "error").strip().strip("[]"):
                raise RuntimeError(f"OVS refused {devargs}: {error}")

    @property
    def target(self) -> str:
        """Where ovs-ofctl reaches the switch."""
        return f"unix:{self.home}/br0.mgmt"

    def load(self, rules: Sequence[str]) -> None:
        load(self.target, rules)

    def sent(self) -> int:
        return sent(self.target)

    def worker(self) -> Thread:
        return find_thread(self.pid, "pmd-c")


def load(target: str, rules: Sequence[str]) -> None:
    """Replace every rule of the OpenFlow switch at `target` by `rules`, in one bundle."""
    text = "\n".join(["delete", *rules, ""])
    command = ["ovs-ofctl", "-O", "OpenFlow13", "--bundle", "add-flows", target, "-"]
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)


def sent(target: str) -> int:
    """Packets that left the OpenFlow switch at `target` by port 2."""
    answer = _run(["ovs-ofctl", "-O", "OpenFlow13", "dump-ports", target, "2"], os.environ)
    return int(answer.partition("tx pkts=")[2].partition(",")[0])


@contextlib.contextmanager
def quake(devices: Sequence[str], *, options: Sequence[str] = (), mbufs: int = 65_536) -> Iterator["Quake"]:
    """quake as it is shipped, one worker on CPU 1, with `devices` as ports 1.. ; `options` are further arguments."""
    with _directory("quake") as home:
        listen, control = f"{home}/openflow.sock", f"{home}/control.sock"
        where = ["--control", control, "--controller", f"punix:{listen}", "--cpus", "1", "--hugepages"]
        buffers = ["--mbufs", str(mbufs)]
        command = [str(BUILD / "src/process/quake"), *where, *buffers, *options]
        with _process(command, os.environ, home / "out.log") as process:
            _await(Path(control).exists, "quake's control socket")
            switch = Quake("quake", process.pid, f"unix:{listen}", control)
            for number, devargs in enumerate(devices, start=1):
                switch.ctl("port-add", f"p{number}", *_port(devargs), f"number={number}")
            yield switch


def _port(devargs: str) -> tuple[str, ...]:
    """The port for a device: vhost-user is a type of its own, which can wait for packets; any other is DPDK's."""
    if devargs.startswith("net_vhost"):
        socket_path = devargs.partition("iface=")[2].partition(",")[0]
        return "vhost-user", f"socket={socket_path}", "role=client"
    return "dpdk", f"devargs={devargs}"


BUILD = Path("build/switch")


@dataclass(slots=True)
class Quake:
    """A running quake; `pid` is its supervisor's."""

    name: str
    pid: int
    target: str
    control: str

    def ctl(self, *arguments: str) -> str:
        """What quakectl answers."""
        return _run([str(BUILD / "tools/quakectl"), "-s", self.control, *arguments], os.environ)

    def load(self, rules: Sequence[str]) -> None:
        load(self.target, rules)

    def sent(self) -> int:
        return sent(self.target)

    def process(self) -> int:
        """The process id of the switch itself, the supervisor's child."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()[0])

    def worker(self) -> Thread:
        return find_thread(self.process(), "worker")


@contextlib.contextmanager
def dpdk_testpmd(devices: Sequence[str], *, mbufs: int = 65_536) -> Iterator["Testpmd"]:
    """dpdk-testpmd forwarding io between port 0 and port 1 on CPU 1: the raw limit of the same devices."""
    with _directory("testpmd") as home:
        eal = ["-l", "0,1", "--main-lcore", "0", "--no-pci", "--in-memory"]
        vdevs = [f"--vdev={devargs}" for devargs in devices]
        command = [
            *("stdbuf", "-oL"),
            "dpdk-testpmd",
            *eal,
            f"--file-prefix={home.name}",
            *vdevs,
            "--",
            "--forward-mode=io",
            "--auto-start",
        ]
        env = os.environ | {"XDG_RUNTIME_DIR": str(home), "RUNTIME_DIRECTORY": str(home)}
        with _process(command, env, home / "out.log", keep_input=True) as process:
            path = home / "dpdk" / home.name / "dpdk_telemetry.v2"
            # Asked for statistics while its devices start, testpmd of DPDK 22.11 dies.
            _await(lambda: "packet forwarding - ports" in (home / "out.log").read_text(), "testpmd's start")
            switch = Testpmd("testpmd", process.pid, path)
            _await(lambda: switch.sent() > 0, "testpmd's first packet")
            yield switch


@dataclass(slots=True)
class Testpmd:
    """A running testpmd; it has no rules."""

    name: str
    pid: int
    telemetry: Path

    def load(self, rules: Sequence[str]) -> None:
        """Nothing: testpmd forwards everything."""

    def sent(self) -> int:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
            channel.connect(str(self.telemetry))
            channel.recv(1024)
            channel.send(b"/ethdev/stats,1")
            return int(json.loads(channel.recv(65536))["/ethdev/stats"]["opackets"])

    def worker(self) -> Thread:
        return find_thread(self.pid, "rte-worker-1")


@contextlib.contextmanager
def _directory(name: str) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=f"tephra-bench-{name}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _namespace(name: str) -> Iterator[str]:
    _run(["ip", "netns", "add", name], os.environ)
    try:
        yield name
    finally:
        _run(["ip", "netns", "del", name], os.environ)


@contextlib.contextmanager
def _process(
    command: Sequence[str], env: Mapping[str, str], log: Path, *, keep_input: bool = False
) -> Iterator["subprocess.Popen[bytes]"]:
    stdin = subprocess.PIPE if keep_input else subprocess.DEVNULL
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, stdin=stdin, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _run(command: Sequence[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _await(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not there after {START_S:.0f} s")
        time.sleep(0.02)
