"""A switch with four ports and its controllers, as the cases use it.

No case waits for time to pass. After a barrier's reply the next packet is sent at once. Where a case has to know what
did *not* happen, `exchange` sends markers behind the frame, on the same port, which a rule of the highest priority
sends out of every port and to the controller: what has not come before them comes no more.
Neighbours: controller.py is the connection; network.py the wires; conftest.py makes the bed.
"""

import itertools
import select
import struct
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .controller import DP, TIMEOUT_S, Controller
from .network import Network
from .switches import Running

PORTS = 4
MARKER_TYPE = 0x88B5  # IEEE 802 local experimental
MARKER_COOKIE = 0x4D41524B
MARKER = struct.Struct("!6s6sHQ")

_markers = itertools.count(1)


@dataclass(slots=True)
class Seen:
    """What a frame led to: frames by the port they left, and packet-ins."""

    frames: dict[int, list[bytes]] = field(default_factory=dict)
    packet_ins: list[Any] = field(default_factory=list)

    @property
    def out(self) -> dict[int, int]:
        """How many frames left by each port that any left by."""
        return {port: len(frames) for port, frames in self.frames.items() if frames}


@dataclass(slots=True)
class Bed:
    """A running switch. `c` is the first controller, `others` are two more that are connected all the time."""

    switch: Running
    net: Network
    c: Controller
    others: list[Controller]

    def reset(self) -> None:
        """Empty tables, groups and meters; configuration and port settings as at the start."""
        self.c.send(msg.OFPRoleRequest(DP, of.OFPCR_ROLE_EQUAL, 0))
        self.c.send(msg.OFPSetConfig(DP, of.OFPC_FRAG_NORMAL, of.OFPCML_NO_BUFFER))
        self.c.send(
            msg.OFPFlowMod(
                DP, table_id=of.OFPTT_ALL, command=of.OFPFC_DELETE, out_port=of.OFPP_ANY, out_group=of.OFPG_ANY
            )
        )
        self.c.send(msg.OFPGroupMod(DP, of.OFPGC_DELETE, of.OFPGT_ALL, of.OFPG_ALL, []))
        self.c.send(msg.OFPMeterMod(DP, of.OFPMC_DELETE, 0, of.OFPM_ALL, []))
        actions = [output(of.OFPP_ALL), output(of.OFPP_IN_PORT), output(of.OFPP_CONTROLLER)]
        self.c.transact(flow({"eth_type": MARKER_TYPE}, actions, priority=0xFFFF, cookie=MARKER_COOKIE))
        self.switch.settle()
        for connection in (self.c, *self.others):
            connection.events(of.OFPT_PACKET_IN)
            connection.waiting.clear()
        for port in self.net.ports.values():
            while port.receive() is not None:
                pass

    def install(self, *messages: Any) -> None:
        """Send messages and a barrier, and require that none was refused."""
        refused = [a for a in self.c.transact(*messages) if a.msg_type == of.OFPT_ERROR]
        assert not refused, [(a.type, a.code) for a in refused]
        self.switch.settle()

    def exchange(self, port: int, *frames: bytes, ports: Iterable[int] = range(1, PORTS + 1)) -> Seen:
        """Send frames in on `port`; what left by all of `ports`, and the packet-ins, up to the marker behind them."""
        for frame in frames:
            self.net.ports[port].send(frame)
        return self.after_marker(port, ports)

    def after_marker(self, port: int, ports: Iterable[int] = range(1, PORTS + 1)) -> Seen:
        """Send only the marker; what has come before it, on the wires and at the first controller.

        Twice, for within a batch a switch may send what takes fewer tables first.
        """
        seen = Seen({n: [] for n in ports})
        for _ in range(2):
            marker = MARKER.pack(b"\x02marke", b"\x02marks", MARKER_TYPE, next(_markers)) + bytes(40)
            self.net.ports[port].send(marker)
            for n in seen.frames:
                seen.frames[n] += self._until(n, marker)
            while (event := self.c.await_event(of.OFPT_PACKET_IN)).data != marker:
                if event.cookie != MARKER_COOKIE:
                    seen.packet_ins.append(event)
        return seen

    def _until(self, number: int, marker: bytes) -> list[bytes]:
        port, frames = self.net.ports[number], []
        deadline = time.monotonic() + TIMEOUT_S
        while (frame := port.receive()) != marker:
            if frame is not None:
                frames.append(frame)
            else:
                left = deadline - time.monotonic()
                assert left > 0, f"the marker did not come out of port {number}"
                select.select([port.socket], [], [], left)
        return [f for f in frames if f[12:14] != MARKER_TYPE.to_bytes(2, "big")]

    def await_frame(self, number: int) -> bytes:
        """The next frame out of a port that is no marker."""
        port, deadline = self.net.ports[number], time.monotonic() + TIMEOUT_S
        while (frame := port.receive()) is None or frame[12:14] == MARKER_TYPE.to_bytes(2, "big"):
            left = deadline - time.monotonic()
            assert left > 0, f"no frame came out of port {number}"
            if frame is None:
                select.select([port.socket], [], [], left)
        return frame

    def flow_stats(
        self, table_id: int = of.OFPTT_ALL, match: dict[str, Any] | None = None, **filters: Any
    ) -> list[Any]:
        """Flow statistics but those of the marker's rule."""
        self.switch.settle()
        options = {"out_port": of.OFPP_ANY, "out_group": of.OFPG_ANY, "cookie": 0, "cookie_mask": 0} | filters
        request = msg.OFPFlowStatsRequest(DP, 0, table_id, match=msg.OFPMatch(**(match or {})), **options)
        return [entry for entry in self.c.request(request).body if entry.cookie != MARKER_COOKIE]


def output(port: int, max_len: int = of.OFPCML_NO_BUFFER) -> Any:
    """An output action; to the controller the whole packet."""
    return msg.OFPActionOutput(port, max_len)


def apply(*actions: Any) -> Any:
    """An Apply-Actions instruction."""
    return msg.OFPInstructionActions(of.OFPIT_APPLY_ACTIONS, list(actions))


def write(*actions: Any) -> Any:
    """A Write-Actions instruction."""
    return msg.OFPInstructionActions(of.OFPIT_WRITE_ACTIONS, list(actions))


def set_field(**fields: Any) -> Any:
    """A Set-Field action."""
    return msg.OFPActionSetField(**fields)


def flow(
    match: dict[str, Any], actions: Sequence[Any] = (), *, instructions: Sequence[Any] | None = None, **options: Any
) -> Any:
    """A flow-mod that adds, with priority 10, `actions` applied; anything else by keyword."""
    if instructions is None:
        instructions = [apply(*actions)] if actions else []
    defaults = {"priority": 10, "out_port": of.OFPP_ANY, "out_group": of.OFPG_ANY, "buffer_id": of.OFP_NO_BUFFER}
    return msg.OFPFlowMod(DP, match=msg.OFPMatch(**match), instructions=list(instructions), **(defaults | options))


def delete(match: dict[str, Any] | None = None, **options: Any) -> Any:
    """A flow-mod that deletes, non-strict, from all tables."""
    return flow(match or {}, **({"command": of.OFPFC_DELETE, "table_id": of.OFPTT_ALL} | options))


def group(kind: int, group_id: int, *buckets: Any, command: int = of.OFPGC_ADD) -> Any:
    """A group-mod that adds."""
    return msg.OFPGroupMod(DP, command, kind, group_id, list(buckets))


def bucket(*actions: Any, weight: int = 0, watch_port: int = of.OFPP_ANY, watch_group: int = of.OFPG_ANY) -> Any:
    """A group's bucket."""
    return msg.OFPBucket(weight=weight, watch_port=watch_port, watch_group=watch_group, actions=list(actions))


def packet_out(frame: bytes, actions: Sequence[Any], in_port: int = of.OFPP_CONTROLLER) -> Any:
    """A packet-out with its data."""
    return msg.OFPPacketOut(DP, of.OFP_NO_BUFFER, in_port, list(actions), frame)
