"""A quake for tests, as it is shipped: supervised, its control and OpenFlow sockets in a directory of its own.

Needs no privilege and no huge pages. Neighbours: tests/switch asks what it does, tests/faults breaks what is around it.
"""

import contextlib
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
QUAKE = Path(os.environ.get("TEPHRA_QUAKE", ROOT / "build/switch/src/process/quake"))
BUILD = QUAKE.parents[2]
NOT_BUILT = f"{QUAKE} is not built: run `make switch`"
PATIENCE_S = 30.0


@dataclass
class Switch:
    """A supervised quake with its files in `home`."""

    home: Path
    supervisor: "subprocess.Popen[bytes]"

    def ask(self, method: str, **params: Any) -> Any:
        """The result of a method of the control socket; AssertionError with the switch's words if it refuses."""
        with self._control() as channel:
            channel.sendall(json.dumps({"method": method, "params": params}).encode() + b"\n")
            answer = json.loads(channel.makefile("rb").readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def process(self) -> int:
        """The process that answers: the worker process of now."""
        with self._control() as channel:
            return int(struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])

    def descriptors(self) -> int:
        """How many files its process holds open."""
        return len(os.listdir(f"/proc/{self.process()}/fd"))

    def add_rules(self, *rules: str) -> None:
        command = ["ovs-ofctl", "-O", "OpenFlow13", "add-flows", f"unix:{self.home}/openflow", "-"]
        subprocess.run(command, input="\n".join(rules) + "\n", text=True, check=True, capture_output=True)

    def port(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(port for port in self.ask("ports") if port["name"] == name)
        return found

    def received(self, name: str) -> int:
        """Packets that came in at a port."""
        return int(self.port(name)["statistics"]["rx_packets"])

    def sent(self, name: str) -> int:
        """Packets that left by a port."""
        return int(self.port(name)["statistics"]["tx_packets"])

    def answers(self) -> bool:
        """Whether it can be asked; AssertionError with its log when it has ended."""
        assert self.supervisor.poll() is None, self.log()
        with contextlib.suppress(OSError, ValueError):
            return bool(self.ask("show"))
        return False

    def log(self) -> str:
        return (self.home / "log").read_text()

    def _control(self) -> socket.socket:
        channel = socket.socket(socket.AF_UNIX)
        channel.settimeout(PATIENCE_S)
        channel.connect(str(self.home / "control"))
        return channel


@contextlib.contextmanager
def running(home: Path, *options: str, under: Sequence[str] = ()) -> Iterator[Switch]:
    """A quake with these further options, ready to be asked; `under` is a command that starts it, such as chrt."""
    command = [
        *under,
        str(QUAKE),
        "--control",
        str(home / "control"),
        "--controller",
        f"punix:{home}/openflow",
        *options,
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env=os.environ | {"XDG_RUNTIME_DIR": str(home)})
    switch = Switch(home, process)
    try:
        until(switch.answers)
        yield switch
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def until(true: Callable[[], bool]) -> None:
    """Wait for a condition of another process, which has no event to await."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
