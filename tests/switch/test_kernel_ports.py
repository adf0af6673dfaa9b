"""Ports on the kernel's network, with the kernel's own sockets at their other ends and all offloads left on.

A local sender leaves checksums and the cutting up of large frames to hardware that is not there: the switch has to do
it. Each test has namespaces of its own: the switch's, and one per host. Needs root.
"""

import contextlib
import hashlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from os_ken.lib.packet import tcp  # type: ignore[import-untyped]

from tests.support.hosts import ADDRESSES, Hosts, hosts
from tests.support.namespaces import NEEDS_ROOT, inside, ip
from tests.support.quake import NOT_BUILT, PATIENCE_S, QUAKE, Switch, running, until

from .conformance.frames import eth, frame, ip4, ip6, over4, tag
from .conformance.network import Network, network

pytestmark = [
    pytest.mark.skipif(not QUAKE.exists(), reason=NOT_BUILT),
    pytest.mark.skipif(NEEDS_ROOT is not None, reason=str(NEEDS_ROOT)),
]

MUCH = bytes(range(256)) * 16384  # 4 MiB: a connection that drops large frames would take minutes
UDP_SEGMENT, SOL_PACKET, PACKET_VNET_HDR = 103, 263, 15
VNET = struct.Struct("=BBHHHH")
NEEDS_CSUM, GSO_TCPV4, GSO_TCPV6 = 1, 1, 4


@pytest.fixture(params=[("af_packet", 1500), ("af_packet", 9000), ("tap", 1500), ("tap", 9000)], ids=str)
def joined(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hosts]:
    with hosts(tmp_path, *request.param) as made:
        yield made


def digest_of_all(listener: socket.socket, digests: list[str]) -> None:
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE_S)
    with connection:
        seen = hashlib.sha256()
        while data := connection.recv(1 << 20):
            seen.update(data)
        digests.append(seen.hexdigest())


def test_tcp_and_udp_in_large_frames(joined: Hosts) -> None:
    for family, address in ADDRESSES.items():
        for sender, receiver in ((1, 2), (2, 1)):
            tcp_transfer(joined, family, sender, (address.format(receiver), 9000))
            datagrams(joined, family, sender, (address.format(receiver), 9001))
    joined.nothing_was_lost()


def tcp_transfer(joined: Hosts, family: int, sender: int, to: tuple[str, int]) -> None:
    digests: list[str] = []
    with joined.socket(3 - sender, family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(to)
        listener.listen()
        reader = threading.Thread(target=digest_of_all, args=(listener, digests))
        reader.start()
        with joined.socket(sender, family, socket.SOCK_STREAM) as connection:
            connection.connect(to)
            connection.sendall(MUCH)
        reader.join(PATIENCE_S)
    assert digests == [hashlib.sha256(MUCH).hexdigest()]


def datagrams(joined: Hosts, family: int, sender: int, to: tuple[str, int]) -> None:
    """Sent in one system call, which makes one frame of them; and an empty one behind."""
    with joined.socket(3 - sender, family, socket.SOCK_DGRAM) as receiver:
        receiver.bind(to)
        with joined.socket(sender, family, socket.SOCK_DGRAM) as from_:
            from_.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1001)
            from_.sendto(MUCH[:8500], to)
            from_.sendto(b"", to)
        assert [receiver.recv(65535) for _ in range(10)] == [
            *(MUCH[n : min(n + 1001, 8500)] for n in range(0, 8500, 1001)),
            b"",
        ]


def test_what_cannot_be_cut_up_is_counted(tmp_path: Path) -> None:
    """Large frames inside of a tunnel that ends in the hosts."""
    with hosts(tmp_path, "af_packet", 1500) as joined:
        for host, name in enumerate(joined.names, 1):
            ends = ["local", f"10.9.0.{host}", "remote", f"10.9.0.{3 - host}"]
            ip("-n", name, "link", "add", "tunnel", "type", "vxlan", "id", "7", "dstport", "4789", *ends)
            ip("-n", name, "addr", "add", f"10.8.0.{host}/24", "dev", "tunnel")
            ip("-n", name, "link", "set", "tunnel", "up")
        with joined.socket(1, socket.AF_INET, socket.SOCK_DGRAM) as from_:
            from_.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1001)
            from_.sendto(MUCH[:8500], ("10.8.0.2", 9001))
        until(lambda: joined.switch.port("s1")["statistics"]["rx_errors"] == 1)


# ---- Frames as a packet socket takes them, with what is left to do ----


@pytest.fixture
def wires(tmp_path: Path) -> Iterator[tuple[Switch, Network]]:
    """What goes into h1 by a socket with virtio-net headers comes out of h2."""
    with network("kernel", 2) as net, contextlib.ExitStack() as stack:
        with inside(net.name):
            switch = stack.enter_context(running(tmp_path, "--mbufs", "4096"))
        for number in (1, 2):
            switch.ask("port-add", name=f"s{number}", type="af_packet", number=number, interface=f"s{number}")
        switch.add_rules("in_port=1,actions=output:2")
        net.ports[1].socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        yield switch, net


def put(wires: tuple[Switch, Network], data: bytes, l4: int, offset: int, gso: int = 0, size: int = 0) -> None:
    wires[1].ports[1].send(VNET.pack(NEEDS_CSUM, gso, l4 if gso else 0, size, l4, offset) + data)


def out(wires: tuple[Switch, Network], n: int) -> list[bytes]:
    frames: list[bytes] = []

    def enough() -> bool:
        while (got := wires[1].ports[2].receive()) is not None:
            frames.append(got)
        return len(frames) >= n

    until(enough)
    return frames


def without_checksum(whole: bytes, l4: int, offset: int, pseudo: bytes) -> bytes:
    """With the sum of the pseudo header in its place, as its sender leaves it."""
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    partial = (total & 0xFFFF) + (total >> 16)
    at = l4 + offset
    return whole[:at] + struct.pack("!H", (partial & 0xFFFF) + (partial >> 16)) + whole[at + 2 :]


def pseudo4(whole: bytes, l4: int, proto: int) -> bytes:
    return whole[l4 - 8 : l4] + struct.pack("!HH", proto, len(whole) - l4)


TAGGED = (eth(0x8100), tag(7, 0x0800, pcp=3))


@pytest.mark.parametrize(
    ("whole", "l4", "offset", "proto"),
    [
        (over4(17), 34, 6, 17),
        (over4(6), 34, 16, 6),
        (over4(17, under=TAGGED), 38, 6, 17),
        (over4(132)[:50], 34, 8, 132),
    ],
    ids=["udp", "tcp", "udp behind a tag", "sctp"],
)
def test_a_checksum_is_completed(wires: tuple[Switch, Network], whole: bytes, l4: int, offset: int, proto: int) -> None:
    put(wires, without_checksum(whole, l4, offset, pseudo4(whole, l4, proto)), l4, offset)
    assert out(wires, 1) == [whole]


def segments(tagged: bool, v6: bool, size: int, parts: list[bytes], **flags: int) -> list[bytes]:
    """The packets that a large one of `parts` stands for; os-ken's checksums."""
    kind = 0x86DD if v6 else 0x0800
    under = [eth(0x8100), tag(7, kind, pcp=3)] if tagged else [eth(kind)]
    made = []
    for n, part in enumerate(parts):
        bits = tcp.TCP_ACK | (flags["first"] if n == 0 else 0) | (flags["last"] if n == len(parts) - 1 else 0)
        over: Any = ip6(6) if v6 else ip4(6, identification=(0xFFFF + n) & 0xFFFF)
        made.append(frame(*under, over, tcp.tcp(1000, 2000, seq=(2**32 - 5 + n * size) % 2**32, bits=bits), part))
    return made


@pytest.mark.parametrize("v6", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("tagged", [False, True], ids=["plain", "tagged"])
def test_a_large_frame_is_cut_up(wires: tuple[Switch, Network], tagged: bool, v6: bool) -> None:
    size, payload = 1000, MUCH[:60500]
    parts = [payload[n : n + size] for n in range(0, len(payload), size)]
    flags = {"first": tcp.TCP_CWR, "last": tcp.TCP_PSH | tcp.TCP_FIN}
    large = segments(tagged, v6, size, [payload], **flags)[0]
    l4 = 14 + 4 * tagged + (40 if v6 else 20)
    put(wires, large, l4, 16, GSO_TCPV6 if v6 else GSO_TCPV4, size)
    assert out(wires, len(parts)) == segments(tagged, v6, size, parts, **flags)


@pytest.mark.parametrize("mbufs", ["1024", "8192"])
def test_af_xdp(tmp_path: Path, mbufs: str) -> None:
    """Frames both ways, also after a kill; and too few buffers are told."""
    with network("kernel", 2) as net, contextlib.ExitStack() as stack:
        with inside(net.name):
            switch = stack.enter_context(running(tmp_path, "--mbufs", mbufs))
        try:
            switch.ask("port-add", name="s1", type="af_xdp", number=1, interface="s1")
        except AssertionError as refusal:
            if mbufs == "1024" and "memory.mbufs is too small" in str(refusal):
                return
            pytest.skip(f"AF_XDP needs its sockets in the kernel and DPDK's net_af_xdp: {refusal}")
        switch.ask("port-add", name="s2", type="af_packet", number=2, interface="s2")
        switch.add_rules("in_port=1,actions=output:2", "in_port=2,actions=output:1")
        frames_pass_both_ways(net)
        killed = switch.process()
        os.kill(killed, signal.SIGKILL)
        until(lambda: switch.answers() and all(port["link"] == "live" for port in switch.ask("ports")))
        frames_pass_both_ways(net)


def frames_pass_both_ways(net: Network) -> None:
    for one, other in ((1, 2), (2, 1)):
        net.ports[one].send(over4(17))
        until(lambda other=other: net.ports[other].receive() == over4(17))  # type: ignore[misc]
