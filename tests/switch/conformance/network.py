"""A network namespace with pairs of virtual Ethernet interfaces: one end the switch's, the other ours, a raw socket.

The kernel takes a VLAN tag out of a frame before a raw socket sees it and tells it beside the frame (PACKET_AUXDATA);
`Port.receive` puts it back. Neighbours: switches.py starts a switch in the namespace; bed.py sends and awaits frames.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.namespaces import inside, ip, namespace

SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
ETH_P_ALL = 3
VLAN_VALID, VLAN_TPID_VALID = 0x10, 0x40  # TP_STATUS_*
AUXDATA = struct.Struct("=IIIHHHH")


@dataclass(slots=True)
class Port:
    """Our end of the switch's port `number`."""

    number: int
    socket: socket.socket

    def send(self, frame: bytes) -> None:
        """Put `frame` on the wire as it is."""
        self.socket.send(frame)

    def receive(self) -> bytes | None:
        """The next frame that the switch sent, tags included; None if there is none now."""
        try:
            frame, ancillary, _, _ = self.socket.recvmsg(65535, 256, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.ENETDOWN:  # told once after the link was cut
                raise
            return None
        for _, kind, data in ancillary:
            if kind == PACKET_AUXDATA:
                frame = _with_tag(frame, data)
        return frame


def _with_tag(frame: bytes, data: bytes) -> bytes:
    status, _, _, _, _, tci, tpid = AUXDATA.unpack(data[: AUXDATA.size])
    if not status & VLAN_VALID:
        return frame
    return frame[:12] + struct.pack("!HH", tpid if status & VLAN_TPID_VALID else 0x8100, tci) + frame[12:]


@dataclass(slots=True)
class Network:
    """Interfaces s1..sN of the switch and the other end of each, in namespace `name`."""

    name: str
    ports: dict[int, Port]

    def link(self, number: int, up: bool) -> None:
        """Raise or cut the link of a port, at our end."""
        ip("-n", self.name, "link", "set", f"h{number}", "up" if up else "down")


@contextlib.contextmanager
def network(kind: str, ports: int) -> Iterator[Network]:
    """A fresh namespace named after `kind` and this process; gone on leaving, interfaces and all."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(namespace(f"of-{kind}"))
        with inside(name):
            sockets = {number: stack.enter_context(_wire(number)) for number in range(1, ports + 1)}
        yield Network(name, {number: Port(number, wire) for number, wire in sockets.items()})


def _wire(number: int) -> socket.socket:
    """Make the pair of interfaces of a port, and the socket on our end."""
    ip("link", "add", f"s{number}", "type", "veth", "peer", "name", f"h{number}")
    for end in (f"s{number}", f"h{number}"):
        Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")  # no traffic but ours
        ip("link", "set", end, "up")
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    raw.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    raw.bind((f"h{number}", 0))
    return raw
