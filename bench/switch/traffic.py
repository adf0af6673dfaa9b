"""Packets and rules of the benchmarks. Pure but for `write_pcap`; the same number always makes the same flow.

Flow `f` is Ethernet 02:00:10:ff:ff:ff (f in three bytes), IPv4 10.x -> 20.x, UDP from port 1024 + f mod 60,000. Sizes
count the frame check sequence, as on the wire, so a 64-byte packet has 60 bytes in a file.
"""

import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

FCS = 4
IMIX = (64,) * 7 + (570,) * 4 + (1518,)  # simple IMIX, 7:4:1, mean 353.8 bytes
LEAST_PACKETS = 1024  # a shorter file would measure the source's own ring
SEED = 20261121


def frame(flow: int, size: int) -> bytes:
    """An Ethernet/IPv4/UDP frame of `flow`, `size` bytes with FCS (which is left off), checksums right."""
    payload = size - FCS - 14 - 20 - 8
    udp = struct.pack("!HHHH", 1024 + flow % 60_000, 4790, 8 + payload, 0) + bytes(payload)
    return _ethernet(flow) + _ipv4(flow, len(udp)) + udp


def mac(flow: int) -> str:
    return ":".join(f"{byte:02x}" for byte in b"\x02\x00\x10" + flow.to_bytes(3, "big"))


def source(flow: int) -> str:
    return ".".join(map(str, (10 << 24 | flow).to_bytes(4, "big")))


def destination(flow: int) -> str:
    return ".".join(map(str, (20 << 24 | flow).to_bytes(4, "big")))


def packets(flows: int, sizes: Sequence[int]) -> Iterator[bytes]:
    """Every flow equally often, shuffled, at least `LEAST_PACKETS`; sizes in turn."""
    rounds = -(-max(LEAST_PACKETS, flows) // flows)
    order = [flow for _ in range(rounds) for flow in range(flows)]
    random.Random(SEED).shuffle(order)
    return (frame(flow, sizes[index % len(sizes)]) for index, flow in enumerate(order))


def write_pcap(path: Path, flows: int, sizes: Sequence[int]) -> Path:
    """A classic pcap file (microseconds, Ethernet) of `packets(flows, sizes)`."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for data in packets(flows, sizes):
            file.write(struct.pack("<IIII", 0, 0, len(data), len(data)) + data)
    return path


# Rules, in the syntax of ovs-ofctl(8); port 1 is the source, port 2 the sink.


def exact_l2(flows: int, actions: str = "output:2") -> list[str]:
    return [f"in_port=1,dl_dst={mac(flow)},actions={actions}" for flow in range(flows)]


def exact_five_tuple(flows: int, actions: str = "output:2") -> list[str]:
    return [
        f"udp,nw_src={source(f)},nw_dst={destination(f)},tp_src={1024 + f % 60_000},tp_dst=4790,actions={actions}"
        for f in range(flows)
    ]


def masks(flows: int, count: int) -> list[str]:
    """Rules of `count` (at most 64) masks, prefixes of both addresses; each mask holds its share of the flows."""
    rules = (
        f"ip,nw_src={source(f)}/{32 - f % count % 8},nw_dst={destination(f)}/{32 - f % count // 8},actions=output:2"
        for f in range(flows)
    )
    return list(dict.fromkeys(rules))


def wildcard() -> list[str]:
    return ["ip,nw_dst=20.0.0.0/8,actions=output:2"]


def locator(flows: int) -> list[str]:
    """Two tables: classify the ingress port into metadata, then (metadata, MAC) to a locator MAC and the port."""
    second = (f"table=1,metadata=7,dl_dst={mac(f)},actions={_locate(f)},output:2" for f in range(flows))
    return ["table=0,in_port=1,actions=write_metadata:7,goto_table:1", *second]


def _locate(flow: int) -> str:
    return f"set_field:0a:00:{flow >> 16 & 255:02x}:{flow >> 8 & 255:02x}:{flow & 255:02x}:01->eth_dst"


def _ethernet(flow: int) -> bytes:
    return b"\x02\x00\x10" + flow.to_bytes(3, "big") + b"\x02\x00\x20\x00\x00\x01" + b"\x08\x00"


def _ipv4(flow: int, length: int) -> bytes:
    addresses = struct.pack("!II", 10 << 24 | flow, 20 << 24 | flow)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0x4000, 64, 17, 0) + addresses
    return header[:10] + struct.pack("!H", _checksum(header)) + header[12:]


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
