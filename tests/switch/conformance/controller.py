"""A controller's end of one OpenFlow 1.3 connection: raw messages, in order, with nothing added.

Messages are made and read by os-ken's codec, or are plain bytes where a case needs a malformed one.
Neighbours: bed.py drives it.
"""

import itertools
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from os_ken.ofproto import ofproto_parser, ofproto_protocol  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3 as of
from os_ken.ofproto import ofproto_v1_3_parser as msg

DP = ofproto_protocol.ProtocolDesc(version=of.OFP_VERSION)  # what os-ken's messages ask for first
TIMEOUT_S = 10.0

_xids = itertools.count(0x1000)


class Silence(AssertionError):
    """The switch said nothing for TIMEOUT_S, or closed the connection."""


@dataclass(slots=True)
class Controller:
    """An open connection. `waiting` holds the messages that nobody asked for yet: events, in order of arrival."""

    socket: socket.socket
    waiting: list[Any] = field(default_factory=list)
    _buffer: bytes = b""

    def send(self, message: Any) -> int:
        """Send a message of os-ken or bytes; returns its xid, a fresh one unless it is bytes."""
        if isinstance(message, bytes):
            self.socket.sendall(message)
            return int(struct.unpack_from("!I", message, 4)[0])
        message.set_xid(next(_xids))
        message.serialize()
        self.socket.sendall(bytes(message.buf))
        return int(message.xid)

    def raw(self, timeout_s: float = TIMEOUT_S) -> bytes:
        """The next message as bytes. Raises Silence."""
        while len(self._buffer) < 8 or len(self._buffer) < struct.unpack_from("!H", self._buffer, 2)[0]:
            if not select.select([self.socket], [], [], timeout_s)[0]:
                raise Silence(f"no message within {timeout_s} s")
            more = self.socket.recv(1 << 20)
            if not more:
                raise Silence("the switch closed the connection")
            self._buffer += more
        length = struct.unpack_from("!H", self._buffer, 2)[0]
        message, self._buffer = self._buffer[:length], self._buffer[length:]
        return message

    def receive(self, timeout_s: float = TIMEOUT_S) -> Any:
        """The next message, decoded; echo requests are answered on the way."""
        deadline = time.monotonic() + timeout_s
        while True:
            raw = self.raw(max(0.0, deadline - time.monotonic()))
            version, kind, length, xid = struct.unpack_from("!BBHI", raw)
            if kind != of.OFPT_ECHO_REQUEST:
                return ofproto_parser.msg(DP, version, kind, length, xid, raw)
            self.socket.sendall(struct.pack("!BBHI", version, of.OFPT_ECHO_REPLY, length, xid) + raw[8:])

    def transact(self, *messages: Any) -> list[Any]:
        """Send messages and a barrier; the answers to them, up to the barrier's. Other messages join `waiting`."""
        xids = [self.send(message) for message in messages]
        barrier = self.send(msg.OFPBarrierRequest(DP))
        answers: list[Any] = []
        while True:
            answer = self.receive()
            if answer.xid == barrier and answer.msg_type == of.OFPT_BARRIER_REPLY:
                return answers
            if answer.xid in xids and answer.msg_type not in EVENTS:
                answers.append(answer)
            else:
                self.waiting.append(answer)

    def request(self, message: Any) -> Any:
        """The one answer to `message`. Parts of a multipart answer are joined in its body."""
        answers = self.transact(message)
        assert answers, "no answer before the barrier's"
        first = answers[0]
        for more in answers[1:]:
            first.body.extend(more.body)
        return first

    def error(self, message: Any) -> tuple[int, int] | None:
        """Type and code of the error that `message` is refused with; None if it is accepted."""
        errors = [a for a in self.transact(message) if a.msg_type == of.OFPT_ERROR]
        assert len(errors) <= 1, "one error per message"
        return (errors[0].type, errors[0].code) if errors else None

    def await_event(self, kind: int, timeout_s: float = TIMEOUT_S) -> Any:
        """The next event of a type, from `waiting` or from the wire."""
        for index, event in enumerate(self.waiting):
            if event.msg_type == kind:
                return self.waiting.pop(index)
        while True:
            event = self.receive(timeout_s)
            if event.msg_type == kind:
                return event
            self.waiting.append(event)

    def events(self, kind: int) -> list[Any]:
        """All events of a type that the switch sent up to now; the others stay in `waiting`."""
        self.transact()
        found = [event for event in self.waiting if event.msg_type == kind]
        self.waiting = [event for event in self.waiting if event.msg_type != kind]
        return found

    def hello(self) -> None:
        """Exchange hellos, as either side does first."""
        self.send(msg.OFPHello(DP))
        assert self.receive().msg_type == of.OFPT_HELLO


EVENTS = {of.OFPT_PACKET_IN, of.OFPT_FLOW_REMOVED, of.OFPT_PORT_STATUS}


def listen(path: Path) -> socket.socket:
    """A unix socket for switches to connect to."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(6 * TIMEOUT_S)
    return listener


def accept(listener: socket.socket) -> Controller:
    """Take a switch's connection and exchange hellos."""
    connection, _ = listener.accept()
    controller = Controller(connection)
    controller.hello()
    return controller
