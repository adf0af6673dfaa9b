"""quake's codec against an independent one: what os-ken writes, quake keeps; what quake writes, os-ken reads.

The switch is `openflow_server` (switch/tests/openflow): the real library with ports that lead nowhere, on a unix
socket, so neither root nor DPDK's environment is needed. The cases with real packets are in conformance/.
"""

import itertools
import os
import random
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from os_ken.ofproto import ofproto_parser, ofproto_protocol  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3 as of
from os_ken.ofproto import ofproto_v1_3_parser as msg

ROOT = Path(__file__).parents[2]
SERVER = Path(os.environ.get("TEPHRA_OPENFLOW_SERVER", ROOT / "build/switch/tests/openflow/openflow_server"))
DP = ofproto_protocol.ProtocolDesc(version=of.OFP_VERSION)
FLOWS = 400
RNG = random.Random(20261121)

Exchange = Any  # a function: messages in, the answers before the barrier's out


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """Send messages and a barrier; returns what came before the barrier's reply, decoded by os-ken."""
    if not SERVER.exists():
        pytest.skip(f"{SERVER} is not built: run `make switch`")
    path = tmp_path_factory.mktemp("of") / "s"
    server = subprocess.Popen([str(SERVER), f"punix:{path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdout
    assert server.stdout.readline() == b"ready\n"
    xids = itertools.count(1)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.settimeout(20)
        stream = connection.makefile("rb")

        def send(message: Any) -> None:
            message.set_xid(next(xids))
            message.serialize()
            connection.sendall(bytes(message.buf))

        def receive() -> Any:
            header = stream.read(8)
            version, kind, length, xid = struct.unpack("!BBHI", header)
            return ofproto_parser.msg(DP, version, kind, length, xid, header + stream.read(length - 8))

        def run(*messages: Any) -> list[Any]:
            for message in (*messages, msg.OFPBarrierRequest(DP)):
                send(message)
            return list(itertools.takewhile(lambda m: not isinstance(m, msg.OFPBarrierReply), iter(receive, None)))

        send(msg.OFPHello(DP))
        assert isinstance(receive(), msg.OFPHello)
        yield run
    server.communicate(timeout=20)
    assert server.returncode == 0


# Fields by what they need, as os-ken names them; values are drawn anew for every flow.


def _mac() -> str:
    return ":".join(f"{RNG.randrange(256):02x}" for _ in range(6))


def _ipv4() -> str:
    return ".".join(str(RNG.randrange(1, 255)) for _ in range(4))


def _ipv6() -> str:
    return "2001:db8:" + ":".join(f"{RNG.randrange(1, 1 << 16):x}" for _ in range(6))


def _bits(n: int) -> int:
    return RNG.randrange(1 << n)


def _transport() -> dict[str, Any]:
    ports = {6: "tcp", 17: "udp", 132: "sctp"}
    protocol = RNG.choice(sorted(ports))
    return {"ip_proto": protocol, f"{ports[protocol]}_src": _bits(16), f"{ports[protocol]}_dst": _bits(16)}


def _ip() -> dict[str, Any]:
    return {"ip_dscp": _bits(6), "ip_ecn": _bits(2)}


def _icmpv4() -> dict[str, Any]:
    return {"eth_type": 0x0800, "ip_proto": 1, "icmpv4_type": _bits(8), "icmpv4_code": _bits(8)}


def _arp() -> dict[str, Any]:
    addresses = {"arp_spa": _ipv4(), "arp_tpa": _ipv4(), "arp_sha": _mac(), "arp_tha": _mac()}
    return {"eth_type": 0x0806, "arp_op": 1, **addresses}


def _neighbour() -> dict[str, Any]:
    kind, option = RNG.choice([(135, "ipv6_nd_sll"), (136, "ipv6_nd_tll")])
    common = {"eth_type": 0x86DD, "ip_proto": 58, "icmpv6_type": kind}
    return {**common, "ipv6_nd_target": _ipv6(), option: _mac()}


PAYLOADS: list[Callable[[], dict[str, Any]]] = [
    dict,
    lambda: {"eth_type": 0x0800, **_ip(), "ipv4_src": _ipv4(), "ipv4_dst": _ipv4(), **_transport()},
    lambda: {"eth_type": 0x86DD, **_ip(), "ipv6_src": _ipv6(), "ipv6_flabel": _bits(20), **_transport()},
    lambda: {"eth_type": 0x86DD, "ipv6_dst": _ipv6(), "ipv6_exthdr": _bits(9)},
    lambda: {"eth_type": 0x8847, "mpls_label": _bits(20), "mpls_tc": _bits(3), "mpls_bos": _bits(1)},
    lambda: {"eth_type": 0x88E7, "pbb_isid": _bits(24)},
    _icmpv4,
    _arp,
    _neighbour,
]


def _match() -> dict[str, Any]:
    fields: dict[str, Any] = {"in_port": RNG.randrange(1, 1000)}
    optional: dict[str, Callable[[], Any]] = {
        "metadata": lambda: (0x1200, 0xFF00),
        "tunnel_id": lambda: _bits(24),
        "eth_dst": _mac,
        "eth_src": lambda: ("02:00:00:00:00:00", "ff:00:00:00:00:00"),
        "vlan_vid": lambda: 0x1000 | _bits(12),
    }
    for name, draw in optional.items():
        if RNG.random() < 0.4:
            fields[name] = draw()
    if "vlan_vid" in fields:
        fields["vlan_pcp"] = _bits(3)
    return fields | RNG.choice(PAYLOADS)()


def _actions(match: dict[str, Any]) -> list[Any]:
    actions = [
        msg.OFPActionSetField(eth_dst=_mac()),
        msg.OFPActionPushVlan(0x88A8),
        msg.OFPActionSetField(vlan_vid=0x1000 | _bits(12)),
        msg.OFPActionSetField(tunnel_id=_bits(24)),
        msg.OFPActionOutput(RNG.randrange(1, 1000), 0),
        msg.OFPActionOutput(of.OFPP_CONTROLLER, _bits(16)),
    ]
    if match.get("eth_type") == 0x0800:
        actions[:0] = [msg.OFPActionDecNwTtl(), msg.OFPActionSetField(ipv4_dst=_ipv4())]
    if match.get("eth_type") == 0x8847:
        actions[:0] = [msg.OFPActionSetMplsTtl(_bits(8)), msg.OFPActionPopMpls(0x0800)]
    return actions[RNG.randrange(len(actions)) :]


def _instructions(match: dict[str, Any]) -> list[Any]:
    return [
        msg.OFPInstructionActions(of.OFPIT_APPLY_ACTIONS, _actions(match)),
        msg.OFPInstructionActions(of.OFPIT_CLEAR_ACTIONS, []),
        msg.OFPInstructionActions(of.OFPIT_WRITE_ACTIONS, [msg.OFPActionOutput(1, 0)]),
        msg.OFPInstructionWriteMetadata(_bits(64), _bits(64)),
        msg.OFPInstructionGotoTable(RNG.randrange(101, 254)),
    ]


def _plain(items: list[Any]) -> list[Any]:
    return [item.to_jsondict() for item in items]


def test_flows_come_back_as_they_were_sent(exchange: Exchange) -> None:
    sent = {}
    for cookie in range(1, FLOWS + 1):
        match = _match()
        sent[cookie] = msg.OFPFlowMod(
            DP,
            cookie=cookie,
            table_id=RNG.randrange(100),
            priority=_bits(16),
            idle_timeout=RNG.randrange(100, 60000),
            hard_timeout=RNG.randrange(100, 60000),
            flags=of.OFPFF_SEND_FLOW_REM,
            match=msg.OFPMatch(**match),
            instructions=_instructions(match),
        )
    assert exchange(*sent.values()) == []
    parts = exchange(msg.OFPFlowStatsRequest(DP))
    kept = {flow.cookie: flow for part in parts for flow in part.body}
    assert kept.keys() == sent.keys()
    for cookie, flow in kept.items():
        for name in ("table_id", "priority", "idle_timeout", "hard_timeout", "flags"):
            assert getattr(flow, name) == getattr(sent[cookie], name)
        assert dict(flow.match.items()) == dict(sent[cookie].match.items())
        assert _plain(flow.instructions) == _plain(sent[cookie].instructions)


def test_groups_and_meters_come_back_as_they_were_sent(exchange: Exchange) -> None:
    buckets = [
        msg.OFPBucket(weight, of.OFPP_ANY, of.OFPG_ANY, [msg.OFPActionOutput(weight, 0)]) for weight in (1, 2, 3)
    ]
    bands = [msg.OFPMeterBandDrop(1000, 50), msg.OFPMeterBandDscpRemark(500, 20, 1)]
    made = exchange(
        msg.OFPGroupMod(DP, of.OFPGC_ADD, of.OFPGT_SELECT, 77, buckets),
        msg.OFPMeterMod(DP, of.OFPMC_ADD, of.OFPMF_KBPS | of.OFPMF_BURST, 88, bands),
    )
    assert made == []
    groups, meters = exchange(msg.OFPGroupDescStatsRequest(DP), msg.OFPMeterConfigStatsRequest(DP))
    assert [(group.group_id, group.type) for group in groups.body] == [(77, of.OFPGT_SELECT)]
    assert _plain(groups.body[0].buckets) == _plain(buckets)
    assert [(meter.meter_id, meter.flags) for meter in meters.body] == [(88, of.OFPMF_KBPS | of.OFPMF_BURST)]
    assert _plain(meters.body[0].bands) == _plain(bands)


def test_every_description_can_be_read(exchange: Exchange) -> None:
    requests = [
        msg.OFPDescStatsRequest(DP),
        msg.OFPTableStatsRequest(DP),
        msg.OFPTableFeaturesStatsRequest(DP, 0, []),
        msg.OFPPortStatsRequest(DP),
        msg.OFPPortDescStatsRequest(DP),
        msg.OFPQueueStatsRequest(DP),
        msg.OFPGroupStatsRequest(DP),
        msg.OFPGroupFeaturesStatsRequest(DP),
        msg.OFPMeterStatsRequest(DP),
        msg.OFPMeterFeaturesStatsRequest(DP),
    ]
    replies = exchange(*requests)
    assert not [reply for reply in replies if isinstance(reply, msg.OFPErrorMsg)]
    tables = [table for reply in replies if isinstance(reply, msg.OFPTableFeaturesStatsReply) for table in reply.body]
    assert [table.table_id for table in tables] == list(range(254))
    fields = {oxm.type for prop in tables[0].properties if prop.type == of.OFPTFPT_MATCH for oxm in prop.oxm_ids}
    assert len(fields) == 40  # every field of 1.3
