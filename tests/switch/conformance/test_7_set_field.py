"""Section 7.2.5: set-field of every header field, tags and TTLs; each frame must come out as if made so."""

from typing import Any, NamedTuple

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, flow, output, set_field
from .clauses import clause
from .controller import DP
from .frames import (
    PAYLOAD,
    PLAIN,
    SCTP4,
    TCP4,
    TCP6,
    UDP4,
    UDP6,
    advertisement,
    arp_packet,
    eth,
    frame,
    ip4,
    itag,
    over4,
    over6,
    ping4,
    ping6,
    service_tag,
    shim,
    solicitation,
    tag,
    transport,
)


class Edit(NamedTuple):
    match: dict[str, Any]  # the prerequisites
    set: dict[str, Any]
    before: bytes
    after: bytes


OTHER = "02:00:00:00:00:77"
IP4, IP6 = {"eth_type": 0x0800}, {"eth_type": 0x86DD}
ICMP6 = IP6 | {"ip_proto": 58}
ARP, MPLS, PBB = {"eth_type": 0x0806}, {"eth_type": 0x8847}, {"eth_type": 0x88E7}
INNER = (eth(0x1234), PAYLOAD)
NEW4, NEW6 = "172.31.255.254", "fd01:2345:6789::abcd"


def _tagged(vid: int, **fields: Any) -> bytes:
    return frame(eth(0x8100), tag(vid, 0x1234, **fields), PAYLOAD)


def _labelled(**fields: Any) -> bytes:
    return frame(eth(0x8847), shim(**({"label": 0x12345, "tc": 5} | fields)), ip4(17), transport(17), PAYLOAD)


EDITS: dict[str, Edit] = {
    "eth_dst": Edit({}, {"eth_dst": OTHER}, PLAIN, frame(eth(0x1234, dst=OTHER), PAYLOAD)),
    "eth_src": Edit({}, {"eth_src": OTHER}, PLAIN, frame(eth(0x1234, src=OTHER), PAYLOAD)),
    "eth_type": Edit({}, {"eth_type": 0x4321}, _tagged(5), frame(eth(0x8100), tag(5, 0x4321), PAYLOAD)),
    "vlan_vid": Edit({"vlan_vid": 0x1005}, {"vlan_vid": 0x1FFE}, _tagged(5, pcp=3), _tagged(0xFFE, pcp=3)),
    "vlan_pcp": Edit({"vlan_vid": 0x1005}, {"vlan_pcp": 6}, _tagged(5, pcp=3), _tagged(5, pcp=6)),
    "ip_dscp": Edit(IP4, {"ip_dscp": 46}, over4(17, ip={"tos": 3}), over4(17, ip={"tos": 0xBB})),
    "ip_dscp v6": Edit(IP6, {"ip_dscp": 46}, UDP6, over6(17, ip={"traffic_class": 0xB8})),
    "ip_ecn": Edit(IP4, {"ip_ecn": 2}, over4(17, ip={"tos": 0xB9}), over4(17, ip={"tos": 0xBA})),
    "ip_ecn v6": Edit(IP6, {"ip_ecn": 1}, UDP6, over6(17, ip={"traffic_class": 1})),
    "ip_proto": Edit(
        IP4, {"ip_proto": 201}, frame(eth(0x0800), ip4(200), PAYLOAD), frame(eth(0x0800), ip4(201), PAYLOAD)
    ),
    "ipv4_src of tcp": Edit(IP4, {"ipv4_src": NEW4}, TCP4, over4(6, ip={"src": NEW4})),
    "ipv4_src of udp": Edit(IP4, {"ipv4_src": NEW4}, UDP4, over4(17, ip={"src": NEW4})),
    "ipv4_dst of sctp": Edit(IP4, {"ipv4_dst": NEW4}, SCTP4, over4(132, ip={"dst": NEW4})),
    "ipv4_dst of tcp": Edit(IP4, {"ipv4_dst": NEW4}, TCP4, over4(6, ip={"dst": NEW4})),
    "ipv4_dst of tagged udp": Edit(
        IP4,
        {"ipv4_dst": NEW4},
        over4(17, under=(eth(0x8100), tag(5, 0x0800))),
        over4(17, under=(eth(0x8100), tag(5, 0x0800)), ip={"dst": NEW4}),
    ),
    "tcp_src": Edit(IP4 | {"ip_proto": 6}, {"tcp_src": 65535}, TCP4, over4(6, src_port=65535)),
    "tcp_dst": Edit(IP6 | {"ip_proto": 6}, {"tcp_dst": 1}, TCP6, over6(6, dst_port=1)),
    "udp_src": Edit(IP4 | {"ip_proto": 17}, {"udp_src": 65535}, UDP4, over4(17, src_port=65535)),
    "udp_dst": Edit(IP6 | {"ip_proto": 17}, {"udp_dst": 1}, UDP6, over6(17, dst_port=1)),
    "sctp_src": Edit(IP4 | {"ip_proto": 132}, {"sctp_src": 65535}, SCTP4, over4(132, src_port=65535)),
    "sctp_dst": Edit(IP6 | {"ip_proto": 132}, {"sctp_dst": 1}, over6(132), over6(132, dst_port=1)),
    "icmpv4_type": Edit(IP4 | {"ip_proto": 1}, {"icmpv4_type": 0}, ping4(), ping4(type_=0)),
    "icmpv4_code": Edit(IP4 | {"ip_proto": 1}, {"icmpv4_code": 5}, ping4(), ping4(code=5)),
    "arp_op": Edit(ARP, {"arp_op": 2}, arp_packet(1), arp_packet(2)),
    "arp_spa": Edit(ARP, {"arp_spa": NEW4}, arp_packet(), arp_packet(src_ip=NEW4)),
    "arp_tpa": Edit(ARP, {"arp_tpa": NEW4}, arp_packet(), arp_packet(dst_ip=NEW4)),
    "arp_sha": Edit(ARP, {"arp_sha": OTHER}, arp_packet(), arp_packet(src_mac=OTHER)),
    "arp_tha": Edit(ARP, {"arp_tha": OTHER}, arp_packet(), arp_packet(dst_mac=OTHER)),
    "ipv6_src of tcp": Edit(IP6, {"ipv6_src": NEW6}, TCP6, over6(6, ip={"src": NEW6})),
    "ipv6_dst of udp": Edit(IP6, {"ipv6_dst": NEW6}, UDP6, over6(17, ip={"dst": NEW6})),
    "ipv6_flabel": Edit(IP6, {"ipv6_flabel": 0xABCDE}, UDP6, over6(17, ip={"flow_label": 0xABCDE})),
    "icmpv6_type": Edit(ICMP6, {"icmpv6_type": 129}, ping6(), ping6(type_=129)),
    "icmpv6_code": Edit(ICMP6, {"icmpv6_code": 5}, ping6(), ping6(code=5)),
    "ipv6_nd_target": Edit(ICMP6 | {"icmpv6_type": 135}, {"ipv6_nd_target": NEW6}, solicitation(), solicitation(NEW6)),
    "ipv6_nd_sll": Edit(ICMP6 | {"icmpv6_type": 135}, {"ipv6_nd_sll": OTHER}, solicitation(), solicitation(sll=OTHER)),
    "ipv6_nd_tll": Edit(
        ICMP6 | {"icmpv6_type": 136}, {"ipv6_nd_tll": OTHER}, advertisement(), advertisement(tll=OTHER)
    ),
    "mpls_label": Edit(MPLS, {"mpls_label": 0xFFFFF}, _labelled(), _labelled(label=0xFFFFF)),
    "mpls_tc": Edit(MPLS, {"mpls_tc": 2}, _labelled(), _labelled(tc=2)),
    "mpls_bos": Edit(MPLS, {"mpls_bos": 0}, _labelled(), _labelled(bottom=0)),
    "pbb_isid": Edit(
        PBB,
        {"pbb_isid": 0xABCDE},
        frame(eth(0x88E7), itag(7, pcp=3), *INNER),
        frame(eth(0x88E7), itag(0xABCDE, pcp=3), *INNER),
    ),
}


@clause("7.2.5-set-field")
@pytest.mark.parametrize("name", EDITS)
def test_set_field(sw: Bed, name: str) -> None:
    match, changes, before, after = EDITS[name]
    sw.install(flow(match, [set_field(**changes), output(2)]))
    assert sw.exchange(1, before).frames[2] == [after]


@clause("7.2.5-set-field")
def test_a_udp_packet_without_checksum_stays_without(sw: Bed) -> None:
    packet = bytearray(UDP4)
    packet[40:42] = b"\0\0"
    changed = bytearray(over4(17, ip={"dst": NEW4}))
    changed[40:42] = b"\0\0"
    sw.install(flow(IP4, [set_field(ipv4_dst=NEW4), output(2)]))
    assert sw.exchange(1, bytes(packet)).frames[2] == [bytes(changed)]


SET = of.OFPET_BAD_ACTION


@clause("7.2.5-set-field-type")
@pytest.mark.parametrize("fields", [{"in_port": 1}, {"in_phy_port": 1}, {"metadata": 1}], ids=str)
def test_what_is_no_header_is_not_set(sw: Bed, fields: dict[str, int]) -> None:
    match = {"in_port": 1} if "in_phy_port" in fields else {}
    assert sw.c.error(flow(match, [set_field(**fields), output(2)])) == (SET, of.OFPBAC_BAD_SET_TYPE)


@clause("7.2.5-set-field-value")
@pytest.mark.parametrize(
    ("match", "fields"),
    [
        ({"vlan_vid": 0x1005}, {"vlan_vid": 0x3005}),
        ({"vlan_vid": 0x1005}, {"vlan_pcp": 8}),
        (IP4, {"ip_dscp": 64}),
        (IP4, {"ip_ecn": 4}),
        (MPLS, {"mpls_label": 1 << 20}),
    ],
    ids=["vid", "pcp", "dscp", "ecn", "label"],
)
def test_impossible_values_are_not_set(sw: Bed, match: dict[str, int], fields: dict[str, int]) -> None:
    assert sw.c.error(flow(match, [set_field(**fields), output(2)])) == (SET, of.OFPBAC_BAD_SET_ARGUMENT)


@clause("7.2.5-set-field-prerequisite")
@pytest.mark.parametrize(
    ("match", "fields"),
    [
        ({}, {"ipv4_src": NEW4}),
        (IP6, {"ipv4_src": NEW4}),
        (IP4, {"tcp_src": 1}),
        (IP4 | {"ip_proto": 17}, {"tcp_src": 1}),
        (IP4, {"arp_op": 1}),
        ({}, {"mpls_label": 1}),
    ],
    ids=["none", "v6", "no proto", "udp", "arp", "mpls"],
)
def test_no_set_field_without_its_prerequisites(sw: Bed, match: dict[str, int], fields: dict[str, Any]) -> None:
    assert sw.c.error(flow(match, [set_field(**fields), output(2)])) == (SET, of.OFPBAC_MATCH_INCONSISTENT)


@clause("7.2.5-push-type")
@pytest.mark.parametrize(
    "action",
    [msg.OFPActionPushVlan(0x0800), msg.OFPActionPushMpls(0x8100), msg.OFPActionPushPbb(0x8100)],
    ids=["vlan", "mpls", "pbb"],
)
def test_tags_have_their_own_ethernet_types(sw: Bed, action: Any) -> None:
    assert sw.c.error(flow({}, [action, output(2)])) == (SET, of.OFPBAC_BAD_ARGUMENT)


@clause("7.2.5-vlan")
@pytest.mark.parametrize("tpid", [0x8100, 0x88A8], ids=hex)
def test_vlan_tags_come_and_go(sw: Bed, tpid: int) -> None:
    push = [msg.OFPActionPushVlan(tpid), set_field(vlan_vid=0x1007), set_field(vlan_pcp=2), output(2)]
    sw.install(
        flow({"in_port": 1}, push),
        flow({"in_port": 3, "vlan_vid": (0x1000, 0x1000)}, [msg.OFPActionPopVlan(), output(2)]),
    )
    tagged = frame(eth(tpid), (tag if tpid == 0x8100 else service_tag)(7, 0x1234, pcp=2), PAYLOAD)
    assert sw.exchange(1, PLAIN).frames[2] == [tagged]
    assert sw.exchange(3, tagged).frames[2] == [PLAIN]


@clause("7.2.5-vlan")
def test_popping_takes_the_outermost_tag(sw: Bed) -> None:
    sw.install(flow({"vlan_vid": 0x1003}, [msg.OFPActionPopVlan(), output(2)]))
    came = frame(eth(0x88A8), service_tag(3, 0x8100), tag(4, 0x1234), PAYLOAD)
    assert sw.exchange(1, came).frames[2] == [_tagged(4)]


@clause("7.2.5-mpls")
@pytest.mark.parametrize("eth_type", [0x8847, 0x8848], ids=hex)
def test_mpls_shims_come_and_go(sw: Bed, eth_type: int) -> None:
    packet = (ip4(17), transport(17), PAYLOAD)
    sw.install(
        flow(
            {"in_port": 1} | IP4,
            [msg.OFPActionPushMpls(eth_type), set_field(mpls_label=99), set_field(mpls_tc=1), output(2)],
        ),
        flow({"in_port": 3, "eth_type": eth_type}, [msg.OFPActionPopMpls(0x0800), output(2)]),
    )
    labelled = frame(eth(eth_type), shim(99, tc=1), *packet)
    assert sw.exchange(1, UDP4).frames[2] == [labelled]
    assert sw.exchange(3, labelled).frames[2] == [UDP4]


@clause("7.2.5-mpls-pop-type")
@pytest.mark.parametrize(("bottom", "left"), [(0, 0x0800), (1, 0x8847)], ids=["ip left", "shim left"])
def test_what_pop_mpls_leaves_is_of_the_action_s_type(sw: Bed, bottom: int, left: int) -> None:
    packet = (ip4(17), transport(17), PAYLOAD)
    sw.install(flow({"in_port": 1, "eth_type": 0x8847}, [msg.OFPActionPopMpls(left), output(2)]))
    labelled = frame(eth(0x8847), shim(99, bottom=bottom), *packet)
    assert sw.exchange(1, labelled).frames[2] == [frame(eth(left), *packet)]


@clause("7.2.5-pbb")
def test_pbb_headers_come_and_go(sw: Bed) -> None:
    push = [msg.OFPActionPushPbb(0x88E7), set_field(pbb_isid=77), set_field(eth_dst=OTHER), output(2)]
    sw.install(flow({"in_port": 1}, push), flow({"in_port": 3} | PBB, [msg.OFPActionPopPbb(), output(2)]))
    wrapped = frame(eth(0x88E7, dst=OTHER), itag(77), *INNER)
    assert sw.exchange(1, PLAIN).frames[2] == [wrapped]
    assert sw.exchange(3, wrapped).frames[2] == [PLAIN]


@clause("7.2.5-pbb")
def test_a_backbone_vlan_is_pushed_on_pbb(sw: Bed) -> None:
    sw.install(
        flow(
            {"in_port": 1},
            [msg.OFPActionPushPbb(0x88E7), msg.OFPActionPushVlan(0x88A8), set_field(vlan_vid=0x1009), output(2)],
        )
    )
    assert sw.exchange(1, PLAIN).frames[2] == [frame(eth(0x88A8), service_tag(9, 0x88E7), itag(0), *INNER)]


def _tunnelled(outer: int, inner: int) -> bytes:
    return frame(eth(0x8847), shim(7, ttl=outer), ip4(17, ttl=inner), transport(17), PAYLOAD)


TTLS: dict[str, tuple[dict[str, int], Any, bytes, bytes]] = {
    "dec v4": (IP4, msg.OFPActionDecNwTtl(), UDP4, over4(17, ip={"ttl": 63})),
    "dec v6": (IP6, msg.OFPActionDecNwTtl(), UDP6, over6(17, ip={"hop_limit": 63})),
    "set v4": (IP4, msg.OFPActionSetNwTtl(9), UDP4, over4(17, ip={"ttl": 9})),
    "set v6": (IP6, msg.OFPActionSetNwTtl(9), UDP6, over6(17, ip={"hop_limit": 9})),
    "dec mpls": (MPLS, msg.OFPActionDecMplsTtl(), _tunnelled(9, 64), _tunnelled(8, 64)),
    "set mpls": (MPLS, msg.OFPActionSetMplsTtl(200), _tunnelled(9, 64), _tunnelled(200, 64)),
    "copy out": (MPLS, msg.OFPActionCopyTtlOut(), _tunnelled(9, 64), _tunnelled(64, 64)),
    "copy in": (MPLS, msg.OFPActionCopyTtlIn(), _tunnelled(9, 64), _tunnelled(9, 9)),
}


@clause("7.2.5-ttl")
@pytest.mark.parametrize("name", TTLS)
def test_ttl(sw: Bed, name: str) -> None:
    match, action, before, after = TTLS[name]
    sw.install(flow(match, [action, output(2)]))
    assert sw.exchange(1, before).frames[2] == [after]


@clause("7.2.5-ttl", "7.4.1-invalid-ttl", "7.3.10-async")
@pytest.mark.parametrize(
    ("match", "action", "packet"),
    [
        (IP4, msg.OFPActionDecNwTtl(), over4(17, ip={"ttl": 1})),
        (IP6, msg.OFPActionDecNwTtl(), over6(17, ip={"hop_limit": 1})),
        (MPLS, msg.OFPActionDecMplsTtl(), _tunnelled(1, 64)),
    ],
    ids=["v4", "v6", "mpls"],
)
def test_an_invalid_ttl_is_told_of_and_not_forwarded(
    sw: Bed, match: dict[str, int], action: Any, packet: bytes
) -> None:
    sw.install(flow(match, [action, output(2)]))
    before = sw.c.request(msg.OFPGetAsyncRequest(DP))
    masks = [list(m) for m in (before.packet_in_mask, before.port_status_mask, before.flow_removed_mask)]
    asked = [masks[0][0] | 1 << of.OFPR_INVALID_TTL, masks[0][1]]
    sw.install(msg.OFPSetAsync(DP, asked, *masks[1:]))
    seen = sw.exchange(1, packet)
    sw.install(msg.OFPSetAsync(DP, *masks))
    assert (seen.out, [(p.reason, p.data) for p in seen.packet_ins]) == ({}, [(of.OFPR_INVALID_TTL, packet)])
