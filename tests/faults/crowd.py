"""Clients of the switch that are killed while they send, and two ports beside them that must not notice.

A client is a DPDK process of its own (quake-flood) with one port: half of them memif, half vhost-user, each kind
sending to the other, so that a client dies as a sender and as a receiver. Neighbour: :mod:`.test_switch`.
"""

import os
import random
import select
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType

from tests.support.quake import BUILD, Switch, until

PAIRS = 4
"""memif and vhost-user ports, two by two: how many clients of each kind live at a time."""
START_S = 60.0
LONGEST_LIFE_S = 0.2
"""Of a client whose packets the switch is known to take: it dies at a random time within."""
LONGEST_START_S = 0.02
LOOK_S = 0.05
SEED = 20261121

Client = subprocess.Popen[bytes]
Life = Callable[[Client, random.Random], None]


class Crowd:
    """The ports that clients come to, and their short lives."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._ports = {f"{kind}{n}": kind for n in range(PAIRS) for kind in ("memif", "vhost-user")}
        numbers = [_add_port(switch, name, kind) for name, kind in self._ports.items()]
        _wire(switch, numbers)

    def live_and_die(self, life: Life, clients: int) -> dict[str, int]:
        """Kill so many clients, one after the other at each port, when their `life` is over; how many of each kind."""
        ports = len(self._ports)
        shares = [clients // ports + (n < clients % ports) for n in range(ports)]
        killed = dict.fromkeys(self._ports.values(), 0)
        with ThreadPoolExecutor(ports) as pool:
            for kind, count in zip(
                self._ports.values(), pool.map(partial(self._lives, life), self._ports, shares), strict=True
            ):
                killed[kind] += count
        return killed

    def packets(self) -> int:
        """How many the clients sent into the switch."""
        return sum(self._switch.received(name) for name in self._ports)

    def _lives(self, life: Life, name: str, count: int) -> int:
        chance = random.Random(f"{SEED} {name}")
        for _ in range(count):
            client = _client(self._switch.home, name, {name: self._ports[name]})
            try:
                life(client, chance)
            finally:
                _kill(client)
        return count


def under_load(client: Client, chance: random.Random) -> None:
    """A life that ends some time after the switch began to take its packets."""
    _await(client, "starting")
    _await(client, "flooding")
    time.sleep(chance.uniform(0, LONGEST_LIFE_S))


def while_connecting(client: Client, chance: random.Random) -> None:
    """A life that ends about when it tells the switch where its memory and its rings are."""
    _await(client, "starting")
    time.sleep(chance.uniform(0, LONGEST_START_S))


class Witness:
    """Two more memif ports with one client that lives, and an eye on whether packets cross from one to the other."""

    NAMES = ("from", "to")

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        _wire(switch, [_add_port(switch, name, "memif") for name in self.NAMES])
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self.packets = 0
        self.silence_s = 0.0
        """The longest time without a packet, to within LOOK_S."""

    def __enter__(self) -> "Witness":
        self._client = _client(self._switch.home, "witness", dict.fromkeys(self.NAMES, "memif"))
        _await(self._client, "starting")
        _await(self._client, "flooding")
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watch.join()
        _kill(self._client)

    def sees_more(self) -> None:
        """Wait until packets cross that were not there yet."""
        seen = self._forwarded()
        until(lambda: self._forwarded() > seen)

    def _forwarded(self) -> int:
        return self._switch.sent(self.NAMES[1])

    def _look(self) -> None:
        first = before = self._forwarded()
        moved = time.monotonic()
        while not self._over.wait(LOOK_S):
            now, seen = time.monotonic(), self._forwarded()
            if seen > before:
                self.silence_s = max(self.silence_s, round(now - moved, 2))
                before, moved = seen, now
            self.packets = before - first


def _add_port(switch: Switch, name: str, kind: str) -> int:
    return int(switch.ask("port-add", name=name, type=kind, socket=str(switch.home / name))["number"])


def _wire(switch: Switch, numbers: Sequence[int]) -> None:
    """Each port and the next forward to each other."""
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    switch.add_rules(*(f"in_port={a},actions=output:{b}" for pair in pairs for a, b in (pair, pair[::-1])))


def _client(home: Path, name: str, ports: dict[str, str]) -> Client:
    """A client of these ports (name to kind)."""
    devices = [_device(home, index, port, kind) for index, (port, kind) in enumerate(ports.items())]
    eal = ["--no-huge", "-m", "32", "--no-shconf", "--no-pci", "--iova-mode=va", "--no-telemetry", "--log-level=error"]
    lcore = ["--lcores", f"0@(0-{(os.cpu_count() or 1) - 1})", f"--file-prefix={name}"]
    command = [str(BUILD / "bench/quake-flood"), *eal, *lcore, *devices]
    return subprocess.Popen(command, bufsize=0, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _device(home: Path, index: int, port: str, kind: str) -> str:
    if kind == "memif":
        return f"--vdev=net_memif{index},role=client,id=0,socket={home}/{port},socket-abstract=no"
    return f"--vdev=net_virtio_user{index},path={home}/{port}"


def _await(client: Client, line: str) -> None:
    assert client.stdout
    assert select.select([client.stdout], [], [], START_S)[0], f"no {line!r} of a client: does the switch serve it?"
    said = client.stdout.readline().decode()
    assert said == f"{line}\n", f"a client said {said!r}, not {line!r}; it ended with {client.poll()}"


def _kill(client: Client) -> None:
    client.kill()
    client.wait()
    if client.stdout:
        client.stdout.close()
