"""Frames for the cases, by os-ken's packet library: its checksums are the judge of the switch's."""

from typing import Any

from os_ken.lib.packet import (  # type: ignore[import-untyped]
    arp,
    ethernet,
    icmp,
    icmpv6,
    ipv4,
    ipv6,
    mpls,
    packet,
    pbb,
    sctp,
    tcp,
    udp,
    vlan,
)

SRC, DST = "02:00:00:00:00:51", "02:00:00:00:00:d2"
V4_SRC, V4_DST = "10.0.0.1", "192.168.1.2"
V6_SRC, V6_DST = "2001:db8::1", "2001:db8:7::2"
PAYLOAD = bytes(range(7, 71))  # no frame is so short that it is padded


def frame(*layers: Any) -> bytes:
    """The bytes of a stack of headers, Ethernet first, checksums computed."""
    built = packet.Packet()
    for layer in layers:
        built.add_protocol(layer)
    built.serialize()
    return bytes(built.data)


def eth(eth_type: int, src: str = SRC, dst: str = DST) -> Any:
    return ethernet.ethernet(dst, src, eth_type)


def tag(vid: int, eth_type: int, pcp: int = 0) -> Any:
    return vlan.vlan(pcp=pcp, cfi=0, vid=vid, ethertype=eth_type)


def service_tag(vid: int, eth_type: int, pcp: int = 0) -> Any:
    return vlan.svlan(pcp=pcp, cfi=0, vid=vid, ethertype=eth_type)


def shim(label: int, tc: int = 0, bottom: int = 1, ttl: int = 64) -> Any:
    return mpls.mpls(label=label, exp=tc, bsb=bottom, ttl=ttl)


def itag(isid: int, pcp: int = 0) -> Any:
    return pbb.itag(pcp=pcp, sid=isid)


def ip4(proto: int, **fields: Any) -> Any:
    return ipv4.ipv4(**({"src": V4_SRC, "dst": V4_DST, "proto": proto, "ttl": 64, "identification": 1} | fields))


def ip6(proto: int, **fields: Any) -> Any:
    return ipv6.ipv6(**({"src": V6_SRC, "dst": V6_DST, "nxt": proto, "hop_limit": 64} | fields))


def transport(proto: int, **fields: Any) -> Any:
    """TCP, UDP or SCTP from port 1000 to 2000."""
    ports = {"src_port": 1000, "dst_port": 2000} | fields
    return {6: tcp.tcp, 17: udp.udp, 132: _sctp}[proto](**ports)


def _sctp(src_port: int, dst_port: int) -> Any:
    return sctp.sctp(src_port, dst_port, 7, 0, [sctp.chunk_cookie_ack()])


def over4(proto: int, *, ip: dict[str, Any] | None = None, under: tuple[Any, ...] = (), **fields: Any) -> bytes:
    """A TCP, UDP or SCTP packet over IPv4; `under` replaces the plain Ethernet header."""
    layers = (*(under or (eth(0x0800),)), ip4(proto, **(ip or {})))
    return _whole(proto, layers, fields)


def over6(proto: int, *, ip: dict[str, Any] | None = None, **fields: Any) -> bytes:
    """A TCP, UDP or SCTP packet over IPv6."""
    return _whole(proto, (eth(0x86DD), ip6(proto, **(ip or {}))), fields)


def _whole(proto: int, layers: tuple[Any, ...], fields: dict[str, Any]) -> bytes:
    if proto != 132:
        return frame(*layers, transport(proto, **fields), PAYLOAD)
    header = transport(proto, **fields)
    whole = frame(*layers, header)
    at = whole.rindex(header.src_port.to_bytes(2, "big") + header.dst_port.to_bytes(2, "big"))
    bare = whole[at : at + 8] + bytes(4) + whole[at + 12 : at + SCTP_BYTES]
    return whole[: at + 8] + _crc32c(bare).to_bytes(4, "little") + whole[at + 12 :]


SCTP_BYTES = 16  # header and one chunk


def _crc32c(data: bytes) -> int:
    """RFC 9260, appendix A; os-ken's own is put in the wrong order."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def ping4(**fields: Any) -> bytes:
    echo = icmp.echo(id_=1, seq=2, data=PAYLOAD)
    return frame(eth(0x0800), ip4(1), icmp.icmp(**({"type_": 8, "code": 0, "data": echo} | fields)))


def ping6(**fields: Any) -> bytes:
    echo = icmpv6.echo(id_=1, seq=2, data=PAYLOAD)
    return frame(eth(0x86DD), ip6(58), icmpv6.icmpv6(**({"type_": 128, "code": 0, "data": echo} | fields)))


def solicitation(target: str = "fe80::9", sll: str = SRC) -> bytes:
    """A neighbour solicitation with its source link-layer option."""
    body = icmpv6.nd_neighbor(dst=target, option=icmpv6.nd_option_sla(hw_src=sll))
    return frame(eth(0x86DD), ip6(58, hop_limit=255), icmpv6.icmpv6(type_=135, code=0, data=body))


def advertisement(target: str = "fe80::9", tll: str = SRC, *, res: int = 3, **fields: Any) -> bytes:
    """A neighbour advertisement with its target link-layer option."""
    body = icmpv6.nd_neighbor(res=res, dst=target, option=icmpv6.nd_option_tla(hw_src=tll))
    layers = (fields.pop("eth", eth(0x86DD)), ip6(58, hop_limit=255, **fields))
    return frame(*layers, icmpv6.icmpv6(type_=136, code=0, data=body))


def arp_packet(opcode: int = 1, *, eth_layer: Any = None, **fields: Any) -> bytes:
    """An ARP request or reply for IPv4 over Ethernet."""
    addresses = {"src_mac": SRC, "src_ip": V4_SRC, "dst_mac": "00:00:00:00:00:00", "dst_ip": V4_DST} | fields
    return frame(eth_layer or eth(0x0806), arp.arp_ip(opcode, **addresses))


PLAIN = frame(eth(0x1234), PAYLOAD)
UDP4, TCP4, SCTP4 = over4(17), over4(6), over4(132)
UDP6, TCP6 = over6(17), over6(6)
