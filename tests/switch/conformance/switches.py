"""The switches that the cases run on: quake, and Open vSwitch with its userspace datapath, each in its own namespace.

Both get ports 1..N on interfaces s1..sN, connect to the controllers' sockets that are given, and listen on another.
Neighbours: network.py makes the namespace; conftest.py picks.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .network import Network

ROOT = Path(__file__).parents[3]
QUAKE = Path(os.environ.get("TEPHRA_QUAKE", ROOT / "build/switch/src/process/quake"))
OVS_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
START_S = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """A started switch. `listens` is the socket on which it takes further controllers.

    A barrier's reply does not mean to Open vSwitch that a change is in force: cached flows live on until revalidated.
    Two cases show that (test_6_channel.py); in all others `settle` has it forget them first, or what else it does
    differently would hide behind this. quake needs nothing of the kind.
    """

    name: str
    home: Path
    listens: Path
    settle: Callable[[], None]


def missing(name: str) -> str | None:
    """Why the switch cannot run here; None if it can."""
    if name == "quake":
        return None if QUAKE.exists() else f"{QUAKE} is not built: run `make switch`"
    return None if shutil.which("ovs-vswitchd") and OVS_SCHEMA.exists() else "Open vSwitch is not installed"


@contextlib.contextmanager
def home() -> Iterator[Path]:
    """A short-named directory for sockets, databases and logs."""
    with tempfile.TemporaryDirectory(prefix="of-") as directory:
        yield Path(directory)


@contextlib.contextmanager
def quake(where: Path, net: Network, controllers: Sequence[Path]) -> Iterator[Running]:
    """quake on the kernel's interfaces, without supervisor, so that what we start is what we stop."""
    listens = where / "listens"
    config = {
        "datapath_id": "00000000000000aa",
        "control": str(where / "control"),
        "controllers": [*(f"unix:{path}" for path in controllers), f"punix:{listens}"],
        "pci": False,
        "memory": {"mbufs": 8192},
        "ports": [{"name": f"s{n}", "type": "af_packet", "number": n, "interface": f"s{n}"} for n in sorted(net.ports)],
    }
    (where / "quake.json").write_text(json.dumps(config))
    command = [str(QUAKE), "--config", str(where / "quake.json"), "--direct"]
    with _process(["ip", "netns", "exec", net.name, *command], where / "quake.log") as process:
        _await(listens.exists, process, where / "quake.log")
        yield Running("quake", where, listens, lambda: None)


@contextlib.contextmanager
def ovs(where: Path, net: Network, controllers: Sequence[Path]) -> Iterator[Running]:
    """Open vSwitch with a database and daemons of its own; the machine's are not touched."""
    env = os.environ | dict.fromkeys(("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"), str(where))
    _run(["ovsdb-tool", "create", f"{where}/conf.db", str(OVS_SCHEMA)], env)
    inside = ["ip", "netns", "exec", net.name]
    database = [*inside, "ovsdb-server", f"{where}/conf.db", f"--remote=punix:{where}/db", f"--unixctl={where}/db.ctl"]
    daemon = [*inside, "ovs-vswitchd", f"unix:{where}/db", f"--unixctl={where}/vs.ctl"]
    with _process(database, where / "db.log", env) as server:
        _await((where / "db").exists, server, where / "db.log")
        _run(_vsctl(where, "--no-wait", "init"), env)
        with _process(daemon, where / "vs.log", env):
            _run(_vsctl(where, *_bridge(net, controllers)), env)
            forget = ["ovs-appctl", f"--target={where}/vs.ctl", "revalidator/purge"]
            yield Running("ovs", where, where / "br0.mgmt", lambda: _run(forget, env))


def _vsctl(where: Path, *arguments: str) -> list[str]:
    return ["ovs-vsctl", f"--db=unix:{where}/db", "--timeout=60", *arguments]


def _bridge(net: Network, controllers: Sequence[Path]) -> list[str]:
    command = [
        "add-br",
        "br0",
        "--",
        "set",
        "bridge",
        "br0",
        "datapath_type=netdev",
        "protocols=OpenFlow13",
        "fail_mode=secure",
    ]
    command += ["other_config:disable-in-band=true", "other_config:datapath-id=00000000000000aa"]
    for number in sorted(net.ports):
        command += [
            "--",
            "add-port",
            "br0",
            f"s{number}",
            "--",
            "set",
            "interface",
            f"s{number}",
            f"ofport_request={number}",
        ]
    for index, path in enumerate(controllers):  # that a case may leave waiting as long as it likes
        command += ["--", f"--id=@c{index}", "create", "controller", f'target="unix:{path}"', "inactivity_probe=0"]
    command += ["--", "set", "bridge", "br0", "controller=" + ",".join(f"@c{n}" for n in range(len(controllers)))]
    return command


def _run(command: Sequence[str], env: dict[str, str]) -> None:
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


@contextlib.contextmanager
def _process(command: Sequence[str], log: Path, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start: {log.read_text()[-2000:]}")
        time.sleep(0.02)


START = {"quake": quake, "ovs": ovs}
