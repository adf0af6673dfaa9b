"""Section 7.2.3.7: every match field, with a frame that it matches and one that differs in just this field."""

from typing import Any, NamedTuple

import pytest
from os_ken.lib.packet import ipv6  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg  # type: ignore[import-untyped]

from .bed import Bed, flow, output
from .clauses import clause
from .frames import (
    DST,
    PAYLOAD,
    PLAIN,
    SCTP4,
    SRC,
    TCP4,
    UDP4,
    UDP6,
    advertisement,
    arp_packet,
    eth,
    frame,
    ip4,
    ip6,
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


class Field(NamedTuple):
    match: dict[str, Any]
    hit: bytes
    miss: bytes


OTHER = "02:00:00:00:00:77"
IP4, IP6 = {"eth_type": 0x0800}, {"eth_type": 0x86DD}
ICMP6 = IP6 | {"ip_proto": 58}
ARP, MPLS, PBB = {"eth_type": 0x0806}, {"eth_type": 0x8847}, {"eth_type": 0x88E7}
INNER = (eth(0x1234), PAYLOAD)


def _labelled(**fields: Any) -> bytes:
    return frame(eth(0x8847), shim(**({"label": 0x12345, "tc": 5} | fields)), ip4(17), transport(17), PAYLOAD)


def _tagged(vid: int, **fields: Any) -> bytes:
    return frame(eth(0x8100), tag(vid, 0x1234, **fields), PAYLOAD)


FIELDS: dict[str, Field] = {
    "eth_dst": Field({"eth_dst": DST}, PLAIN, frame(eth(0x1234, dst=OTHER), PAYLOAD)),
    "eth_dst masked": Field(
        {"eth_dst": ("00:00:00:00:00:d0", "00:00:00:00:00:f0")}, PLAIN, frame(eth(0x1234, dst=OTHER), PAYLOAD)
    ),
    "eth_dst multicast bit": Field(
        {"eth_dst": ("01:00:00:00:00:00",) * 2}, frame(eth(0x1234, dst="33:33:00:00:00:01"), PAYLOAD), PLAIN
    ),
    "eth_src": Field({"eth_src": SRC}, PLAIN, frame(eth(0x1234, src=OTHER), PAYLOAD)),
    "eth_src masked": Field(
        {"eth_src": ("00:00:00:00:00:50", "ff:00:00:00:00:f0")},
        frame(eth(0x1234, src="00:11:22:33:44:5f"), PAYLOAD),
        PLAIN,
    ),
    "eth_type": Field({"eth_type": 0x1234}, PLAIN, frame(eth(0x1235), PAYLOAD)),
    "eth_type behind tags": Field(
        {"eth_type": 0x1234}, frame(eth(0x88A8), service_tag(3, 0x8100), tag(4, 0x1234), PAYLOAD), UDP4
    ),
    "vlan_vid": Field({"vlan_vid": 0x1005}, _tagged(5), _tagged(6)),
    "vlan_vid outermost": Field(
        {"vlan_vid": 0x1003},
        frame(eth(0x88A8), service_tag(3, 0x8100), tag(4, 0x1234), PAYLOAD),
        frame(eth(0x88A8), service_tag(4, 0x8100), tag(3, 0x1234), PAYLOAD),
    ),
    "vlan_vid masked": Field({"vlan_vid": (0x1004, 0x100C)}, _tagged(0xFF5), _tagged(0xFF9)),
    "vlan_pcp": Field({"vlan_vid": 0x1005, "vlan_pcp": 3}, _tagged(5, pcp=3), _tagged(5, pcp=2)),
    "ip_dscp": Field(IP4 | {"ip_dscp": 46}, over4(17, ip={"tos": 0xBB}), over4(17, ip={"tos": 0xB7})),
    "ip_dscp v6": Field(IP6 | {"ip_dscp": 46}, over6(17, ip={"traffic_class": 0xBA}), UDP6),
    "ip_ecn": Field(IP4 | {"ip_ecn": 3}, over4(17, ip={"tos": 0xBB}), over4(17, ip={"tos": 0xB9})),
    "ip_proto": Field(IP4 | {"ip_proto": 17}, UDP4, TCP4),
    "ip_proto v6": Field(IP6 | {"ip_proto": 17}, UDP6, over6(6)),
    "ipv4_src": Field(IP4 | {"ipv4_src": "10.0.0.1"}, UDP4, over4(17, ip={"src": "10.0.0.2"})),
    "ipv4_src masked": Field(
        IP4 | {"ipv4_src": ("10.0.0.0", "255.0.0.254")},
        over4(17, ip={"src": "10.9.9.1"}),
        over4(17, ip={"src": "10.0.0.2"}),
    ),
    "ipv4_dst": Field(IP4 | {"ipv4_dst": "192.168.1.2"}, UDP4, over4(17, ip={"dst": "192.168.1.3"})),
    "ipv4_dst prefix": Field(
        IP4 | {"ipv4_dst": ("192.168.0.0", "255.255.0.0")}, UDP4, over4(17, ip={"dst": "192.169.1.2"})
    ),
    "tcp_src": Field(IP4 | {"ip_proto": 6, "tcp_src": 1000}, TCP4, over4(6, src_port=1001)),
    "tcp_dst": Field(IP4 | {"ip_proto": 6, "tcp_dst": 2000}, TCP4, over4(6, dst_port=2001)),
    "udp_src": Field(IP4 | {"ip_proto": 17, "udp_src": 1000}, UDP4, over4(17, src_port=1001)),
    "udp_dst": Field(IP6 | {"ip_proto": 17, "udp_dst": 2000}, UDP6, over6(17, dst_port=2001)),
    "sctp_src": Field(IP4 | {"ip_proto": 132, "sctp_src": 1000}, SCTP4, over4(132, src_port=1001)),
    "sctp_dst": Field(IP6 | {"ip_proto": 132, "sctp_dst": 2000}, over6(132), over6(132, dst_port=2001)),
    "icmpv4_type": Field(IP4 | {"ip_proto": 1, "icmpv4_type": 8}, ping4(), ping4(type_=0)),
    "icmpv4_code": Field(IP4 | {"ip_proto": 1, "icmpv4_code": 0}, ping4(), ping4(code=1)),
    "arp_op": Field(ARP | {"arp_op": 1}, arp_packet(1), arp_packet(2)),
    "arp_spa": Field(ARP | {"arp_spa": "10.0.0.1"}, arp_packet(), arp_packet(src_ip="10.0.0.2")),
    "arp_spa masked": Field(
        ARP | {"arp_spa": ("10.0.0.0", "255.255.255.254")}, arp_packet(), arp_packet(src_ip="10.0.0.2")
    ),
    "arp_tpa": Field(ARP | {"arp_tpa": "192.168.1.2"}, arp_packet(), arp_packet(dst_ip="192.168.1.3")),
    "arp_sha": Field(ARP | {"arp_sha": SRC}, arp_packet(), arp_packet(src_mac=OTHER)),
    "arp_sha masked": Field(
        ARP | {"arp_sha": ("00:00:00:00:00:50", "00:00:00:00:00:f0")}, arp_packet(), arp_packet(src_mac=OTHER)
    ),
    "arp_tha": Field(ARP | {"arp_tha": OTHER}, arp_packet(dst_mac=OTHER), arp_packet()),
    "ipv6_src": Field(IP6 | {"ipv6_src": "2001:db8::1"}, UDP6, over6(17, ip={"src": "2001:db8::2"})),
    "ipv6_src masked": Field(
        IP6 | {"ipv6_src": ("2001:db8::1", "ffff:ffff::f")},
        over6(17, ip={"src": "2001:db8:5::1"}),
        over6(17, ip={"src": "2001:db8::2"}),
    ),
    "ipv6_dst": Field(IP6 | {"ipv6_dst": "2001:db8:7::2"}, UDP6, over6(17, ip={"dst": "2001:db8:7::3"})),
    "ipv6_dst prefix": Field(
        IP6 | {"ipv6_dst": ("2001:db8:7::", "ffff:ffff:ffff::")}, UDP6, over6(17, ip={"dst": "2001:db8:8::2"})
    ),
    "ipv6_flabel": Field(IP6 | {"ipv6_flabel": 0xABCDE}, over6(17, ip={"flow_label": 0xABCDE}), UDP6),
    "ipv6_flabel masked": Field(IP6 | {"ipv6_flabel": (0xA0000, 0xF0000)}, over6(17, ip={"flow_label": 0xABCDE}), UDP6),
    "icmpv6_type": Field(ICMP6 | {"icmpv6_type": 128}, ping6(), ping6(type_=129)),
    "icmpv6_code": Field(ICMP6 | {"icmpv6_code": 0}, ping6(), ping6(code=1)),
    "ipv6_nd_target": Field(
        ICMP6 | {"icmpv6_type": 135, "ipv6_nd_target": "fe80::9"}, solicitation(), solicitation("fe80::a")
    ),
    "ipv6_nd_target of an advertisement": Field(
        ICMP6 | {"icmpv6_type": 136, "ipv6_nd_target": "fe80::9"}, advertisement(), advertisement("fe80::a")
    ),
    "ipv6_nd_sll": Field(ICMP6 | {"icmpv6_type": 135, "ipv6_nd_sll": SRC}, solicitation(), solicitation(sll=OTHER)),
    "ipv6_nd_tll": Field(ICMP6 | {"icmpv6_type": 136, "ipv6_nd_tll": SRC}, advertisement(), advertisement(tll=OTHER)),
    "mpls_label": Field(MPLS | {"mpls_label": 0x12345}, _labelled(), _labelled(label=0x12346)),
    "mpls_label behind a tag": Field(
        MPLS | {"vlan_vid": 0x1005, "mpls_label": 9},
        frame(eth(0x8100), tag(5, 0x8847), shim(9), ip4(17), transport(17), PAYLOAD),
        _labelled(label=9),
    ),
    "mpls_tc": Field(MPLS | {"mpls_tc": 5}, _labelled(), _labelled(tc=4)),
    "mpls_bos": Field(MPLS | {"mpls_bos": 1}, _labelled(), frame(eth(0x8847), shim(7, bottom=0), shim(8), PAYLOAD)),
    "mpls multicast": Field(
        {"eth_type": 0x8848, "mpls_label": 7},
        frame(eth(0x8848), shim(7), ip4(17), transport(17), PAYLOAD),
        _labelled(label=7),
    ),
    "pbb_isid": Field(
        PBB | {"pbb_isid": 0xABCDE},
        frame(eth(0x88E7), itag(0xABCDE), *INNER),
        frame(eth(0x88E7), itag(0xABCDF), *INNER),
    ),
    "pbb_isid masked": Field(
        PBB | {"pbb_isid": (0xA0000, 0xF0000)},
        frame(eth(0x88E7), itag(0xABCDE), *INNER),
        frame(eth(0x88E7), itag(0xBBCDE), *INNER),
    ),
}


@clause("7.2.3.7-fields", "5.3-omitted")
@pytest.mark.parametrize("name", FIELDS)
def test_field(sw: Bed, name: str) -> None:
    match, hit, miss = FIELDS[name]
    sw.install(flow(match, [output(2)], cookie=1), flow({}, [output(3)], priority=1))
    assert sw.exchange(1, hit).frames == {1: [], 2: [hit], 3: [], 4: []}
    assert sw.exchange(1, miss).frames == {1: [], 2: [], 3: [miss], 4: []}
    told = [entry.match for entry in sw.flow_stats() if entry.cookie == 1]
    assert [dict(m.items()) for m in told] == [dict(msg.OFPMatch(**match).items())]


@clause("7.2.3.7-fields")
def test_in_port(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2)]), flow({"in_port": 3}, [output(4)]))
    assert [sw.exchange(n, UDP4).out for n in (1, 2, 3, 4)] == [{2: 1}, {}, {4: 1}, {}]


@clause("7.2.3.7-fields")
def test_in_phy_port_is_the_ingress_port_of_a_physical_one(sw: Bed) -> None:
    sw.install(flow({"in_port": 1, "in_phy_port": 1}, [output(2)]), flow({"in_port": 1, "in_phy_port": 2}, [output(3)]))
    assert sw.exchange(1, UDP4).out == {2: 1}


@clause("7.2.3.7-fields")
def test_tunnel_id_is_zero_without_a_tunnel(sw: Bed) -> None:
    sw.install(flow({"tunnel_id": 0}, [output(2)]), flow({"tunnel_id": (1, 1)}, [output(3)], priority=11))
    assert sw.exchange(1, UDP4).out == {2: 1}


@clause("7.2.3.7-fields")
def test_all_at_once(sw: Bed) -> None:
    layer2 = {"in_port": 1, "eth_dst": DST, "eth_src": SRC, "vlan_vid": 0x1005, "vlan_pcp": 2, "eth_type": 0x0800}
    layer3 = {"ip_dscp": 10, "ip_ecn": 1, "ip_proto": 17, "ipv4_src": "10.0.0.1", "ipv4_dst": "192.168.1.2"}
    match = layer2 | layer3 | {"udp_src": 1000, "udp_dst": 2000}
    layers = (eth(0x8100), tag(5, 0x0800, pcp=2))
    sw.install(flow(match, [output(2)]))
    assert sw.exchange(1, over4(17, under=layers, ip={"tos": 41})).out == {2: 1}
    assert sw.exchange(1, over4(17, under=layers, ip={"tos": 42})).out == {}


@clause("7.2.3.7-vlan")
def test_no_tag_any_tag_priority_tag(sw: Bed) -> None:
    sw.install(
        flow({"in_port": 1, "vlan_vid": 0}, [output(2)]),
        flow({"in_port": 1, "vlan_vid": (0x1000, 0x1000)}, [output(3)], priority=9),
        flow({"in_port": 1, "vlan_vid": 0x1000}, [output(4)]),
    )
    assert sw.exchange(1, PLAIN).out == {2: 1}
    assert sw.exchange(1, _tagged(7)).out == {3: 1}
    assert sw.exchange(1, _tagged(0, pcp=5)).out == {4: 1}


def _extended(*kinds: str) -> bytes:
    """A UDP packet over IPv6 with these extension headers."""
    nexts = [*(EXTENSIONS[kind].TYPE for kind in kinds), 17]
    headers = [_extension(kind, following) for kind, following in zip(kinds, nexts[1:], strict=True)]
    return frame(eth(0x86DD), ip6(nexts[0], ext_hdrs=headers), transport(17), PAYLOAD)


EXTENSIONS = {"hop": ipv6.hop_opts, "dest": ipv6.dst_opts, "auth": ipv6.auth, "frag": ipv6.fragment}


def _extension(kind: str, following: int) -> Any:
    if kind == "auth":
        return ipv6.auth(nxt=following, size=2, spi=1, seq=2, data=b"\0\0\0\0")
    if kind == "frag":
        return ipv6.fragment(nxt=following, offset=0, more=0, id_=1)
    return EXTENSIONS[kind](nxt=following, size=0, data=[ipv6.option(type_=1, len_=4, data=b"\0\0\0\0")])


@clause("7.2.3.7-exthdr")
@pytest.mark.parametrize(
    ("kinds", "flags"),
    [
        ("", 0),
        ("hop", 0x40),
        ("dest", 0x08),
        ("frag", 0x10),
        ("auth", 0x04),
        ("hop dest frag auth dest", 0x5C),
        ("dest dest dest", 0x88),
        ("auth frag", 0x114),
    ],
)
def test_extension_headers(sw: Bed, kinds: str, flags: int) -> None:
    sw.install(flow(IP6 | {"ipv6_exthdr": flags, "ip_proto": 17, "udp_dst": 2000}, [output(2)]))
    assert sw.exchange(1, _extended(*kinds.split())).out == {2: 1}


@clause("7.2.3.7-exthdr")
def test_no_next_header(sw: Bed) -> None:
    sw.install(flow(IP6 | {"ipv6_exthdr": (1, 1)}, [output(2)]))
    assert sw.exchange(1, frame(eth(0x86DD), ip6(59), PAYLOAD), UDP6).out == {2: 1}


@clause("7.3.2-fragments")
def test_later_fragments_have_no_transport(sw: Bed) -> None:
    sw.install(
        flow(IP4 | {"ip_proto": 17, "udp_src": 0}, [output(2)]),
        flow(IP4 | {"ip_proto": 17, "udp_src": 1000}, [output(3)]),
        flow(IP4 | {"ip_proto": 17}, [output(4)], priority=1),
    )
    first = over4(17, ip={"flags": 1})
    later = frame(eth(0x0800), ip4(17, offset=10), bytes(64))
    assert sw.exchange(1, first).out == {3: 1}
    assert sw.exchange(1, later).out == {4: 1}


@clause("7.2.3.7-fields")
def test_an_absent_option_is_not_an_address_of_zeros(sw: Bed) -> None:
    sw.install(flow(ICMP6 | {"icmpv6_type": 135, "ipv6_nd_sll": "00:00:00:00:00:00"}, [output(2)]))
    assert sw.exchange(1, advertisement(), solicitation()[:78]).out == {}
