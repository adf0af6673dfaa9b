"""What goes beyond the specification: ONF bundles on 1.3 (EXT-230), and quake's ARP/ND responder."""

import struct
from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, flow, output
from .clauses import clause
from .frames import SRC, UDP4, V4_DST, V4_SRC, V6_SRC, advertisement, arp_packet, eth, solicitation

ONF, CONTROL, ADD = 0x4F4E4600, 2300, 2301
OPEN, CLOSE, COMMIT, DISCARD = 0, 2, 4, 6
ATOMIC = 1
OWNER = "02:00:00:00:aa:bb"


def _control(sw: Bed, bundle: int, kind: int) -> tuple[int, int]:
    """Send a bundle control; the type of the reply, or of the error and its code."""
    xid = 0xB000 + kind
    body = struct.pack("!IIIHH", ONF, CONTROL, bundle, kind, ATOMIC)
    sw.c.send(struct.pack("!BBHI", 4, of.OFPT_EXPERIMENTER, 8 + len(body), xid) + body)
    while True:
        reply = sw.c.raw()
        if struct.unpack_from("!I", reply, 4)[0] == xid:
            at = 20 if reply[1] == of.OFPT_EXPERIMENTER else 8
            return int(reply[1]), int(struct.unpack_from("!H", reply, at)[0])


def _add(sw: Bed, bundle: int, message: Any) -> None:
    message.set_xid(0xADD)
    message.serialize()
    body = struct.pack("!IIIHH", ONF, ADD, bundle, 0, ATOMIC) + bytes(message.buf)
    sw.c.send(struct.pack("!BBHI", 4, of.OFPT_EXPERIMENTER, 8 + len(body), 0xADD) + body)


@clause("EXT-230-bundle")
def test_a_bundle_changes_nothing_before_its_commit_and_then_all(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2)]))
    assert _control(sw, 7, OPEN) == (of.OFPT_EXPERIMENTER, OPEN + 1)
    _add(sw, 7, flow({"in_port": 1}, [output(3)]))
    _add(sw, 7, flow({"in_port": 4}, [output(3)]))
    assert _control(sw, 7, CLOSE) == (of.OFPT_EXPERIMENTER, CLOSE + 1)
    assert [sw.exchange(n, UDP4).out for n in (1, 4)] == [{2: 1}, {}]
    assert _control(sw, 7, COMMIT) == (of.OFPT_EXPERIMENTER, COMMIT + 1)
    sw.install()
    assert [sw.exchange(n, UDP4).out for n in (1, 4)] == [{3: 1}, {3: 1}]


@clause("EXT-230-bundle", "6.2-all-or-nothing")
def test_a_bundle_with_a_mistake_changes_nothing(sw: Bed) -> None:
    sw.install(flow({"in_port": 2}, [output(4)]))
    _control(sw, 8, OPEN)
    _add(sw, 8, flow({"in_port": 1}, [output(3)]))
    _add(sw, 8, flow({"eth_src": SRC}, [output(3)], flags=of.OFPFF_CHECK_OVERLAP))
    assert _control(sw, 8, COMMIT)[0] == of.OFPT_ERROR
    sw.install()
    assert sw.exchange(1, UDP4).out == {}


@clause("EXT-230-bundle")
def test_a_discarded_bundle_changes_nothing(sw: Bed) -> None:
    _control(sw, 9, OPEN)
    _add(sw, 9, flow({"in_port": 1}, [output(3)]))
    assert _control(sw, 9, DISCARD) == (of.OFPT_EXPERIMENTER, DISCARD + 1)
    sw.install()
    assert sw.exchange(1, UDP4).out == {}


def _responder() -> list[Any]:
    mac = bytes.fromhex(OWNER.replace(":", ""))
    reply = msg.OFPActionExperimenterUnknown(0x51554B45, struct.pack("!H", 1) + mac + bytes(8))
    return [reply, output(of.OFPP_IN_PORT)]


@clause("QUKE-arp-nd-reply")
@pytest.mark.parametrize("tagged", [False, True], ids=["untagged", "tagged"])
def test_arp_requests_are_answered_from_the_rule(sw: Bed, tagged: bool) -> None:
    sw.install(flow({"eth_type": 0x0806, "arp_op": 1, "arp_tpa": V4_DST}, _responder()))
    request, answer = (
        arp_packet(),
        arp_packet(
            2, eth_layer=eth(0x0806, src=OWNER, dst=SRC), src_mac=OWNER, src_ip=V4_DST, dst_mac=SRC, dst_ip=V4_SRC
        ),
    )
    if tagged:
        request, answer = (f[:12] + b"\x81\x00\x00\x05" + f[12:] for f in (request, answer))
    assert sw.exchange(1, request).frames == {1: [answer], 2: [], 3: [], 4: []}
    assert sw.exchange(1, arp_packet(dst_ip="10.9.9.9")).out == {}


@clause("QUKE-arp-nd-reply")
def test_neighbour_solicitations_are_answered_from_the_rule(sw: Bed) -> None:
    match = {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": 135, "ipv6_nd_target": "fe80::9"}
    sw.install(flow(match, _responder()))
    answer = advertisement(tll=OWNER, eth=eth(0x86DD, src=OWNER, dst=SRC), src="fe80::9", dst=V6_SRC)
    assert sw.exchange(1, solicitation()).frames[1] == [answer]


@clause("QUKE-arp-nd-reply")
def test_the_owner_s_own_probe_is_not_answered(sw: Bed) -> None:
    sw.install(flow({"eth_type": 0x0806}, _responder()))
    probe = arp_packet(eth_layer=eth(0x0806, src=OWNER), src_mac=OWNER, src_ip="0.0.0.0")
    assert sw.exchange(1, probe, UDP4).out == {}
