"""Workers that are parked and woken, by hand and by load, while numbered datagrams flow: none is lost, none overtakes.

Needs root, for the hosts that send and receive.
"""

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hosts import Hosts, hosts
from tests.support.namespaces import NEEDS_ROOT
from tests.support.quake import NOT_BUILT, PATIENCE_S, QUAKE, until

pytestmark = [
    pytest.mark.skipif(not QUAKE.exists(), reason=NOT_BUILT),
    pytest.mark.skipif(NEEDS_ROOT is not None, reason=str(NEEDS_ROOT)),
]

TO = ("10.9.0.2", 9000)
END = b"end"
SO_RCVBUFFORCE, BUFFER = 33, 16 << 20


@contextlib.contextmanager
def joined(home: Path, *, auto: bool) -> Iterator[Hosts]:
    """Hosts joined by a quake of two workers, on whatever CPUs there are."""
    (home / "quake.json").write_text(json.dumps({"workers": {"cpus": [-1, -1], "auto": auto}}))
    with hosts(home, "af_packet", 1500, "--config", str(home / "quake.json")) as made:
        yield made


@contextlib.contextmanager
def flow(made: Hosts) -> Iterator[list[int]]:
    """Datagrams flow from host 1 to host 2 meanwhile; on leaving, each must have come, in order."""
    came: list[int] = []
    stop = threading.Event()
    with (
        made.socket(1, socket.AF_INET, socket.SOCK_DGRAM) as out,
        made.socket(2, socket.AF_INET, socket.SOCK_DGRAM) as in_,
    ):
        in_.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        in_.bind(TO)

        def send() -> None:
            for number in itertools.count():
                out.sendto(number.to_bytes(4, "big"), TO)
                if number % 16 == 15 and stop.wait(0.001):
                    out.sendto(END, TO)
                    return

        def receive() -> None:
            while (datagram := in_.recv(64)) != END:
                came.append(int.from_bytes(datagram, "big"))

        threads = [threading.Thread(target=what) for what in (send, receive)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: bool(came))
            yield came
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE_S)
    assert came == list(range(len(came)))
    assert len(came) % 16 == 0
    made.nothing_was_lost()


def parked(made: Hosts) -> list[bool]:
    return [worker["state"] == "parked" for worker in made.switch.ask("workers")["workers"]]


def test_queues_move_under_traffic(tmp_path: Path) -> None:
    with joined(tmp_path, auto=False) as made, flow(made) as came:
        for worker in [0, 1] * 50:
            made.switch.ask("worker-park", worker=worker)
            assert parked(made)[worker]
            seen = len(came)
            until(lambda seen=seen: len(came) > seen)  # type: ignore[misc]
            made.switch.ask("worker-unpark", worker=worker)
            assert parked(made) == [False, False]


def test_load_wakes_a_worker_and_calm_parks_it(tmp_path: Path) -> None:
    """A device that always has packets is the load: it takes all of a worker's time."""
    with joined(tmp_path, auto=True) as made, flow(made):
        until(lambda: parked(made) == [False, True])
        made.switch.ask("port-add", name="load", type="dpdk", devargs="net_null0")
        until(lambda: parked(made) == [False, False])
        made.switch.ask("port-remove", name="load")
        until(lambda: parked(made) == [False, True])
