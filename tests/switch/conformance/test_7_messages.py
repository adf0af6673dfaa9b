"""Sections 7.2.1, 7.3 and 7.4: handshake, configuration, ports, multipart, packet-out, events, echo."""

from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import PORTS, Bed, apply, delete, flow, output, packet_out, set_field
from .clauses import clause
from .controller import DP
from .frames import PLAIN, UDP4, UDP6, over4

REQUEST = of.OFPET_BAD_REQUEST
PORT_MOD = of.OFPET_PORT_MOD_FAILED


@clause("7.3.1-features", "7.1-xid")
def test_features(sw: Bed) -> None:
    features = sw.c.request(msg.OFPFeaturesRequest(DP))
    assert (features.datapath_id, features.auxiliary_id) == (0xAA, 0)
    assert features.n_tables >= 2
    wanted = of.OFPC_FLOW_STATS | of.OFPC_TABLE_STATS | of.OFPC_PORT_STATS | of.OFPC_GROUP_STATS
    assert features.capabilities & wanted == wanted


@clause("7.3.2-config")
def test_configuration(sw: Bed) -> None:
    sw.install(msg.OFPSetConfig(DP, of.OFPC_FRAG_NORMAL, 77))
    config = sw.c.request(msg.OFPGetConfigRequest(DP))
    assert (config.flags, config.miss_send_len) == (of.OFPC_FRAG_NORMAL, 77)


@clause("7.3.2-frag-flags")
def test_fragments_are_not_reassembled(sw: Bed) -> None:
    error = sw.c.error(msg.OFPSetConfig(DP, of.OFPC_FRAG_REASM, 77))
    assert error == (of.OFPET_SWITCH_CONFIG_FAILED, of.OFPSCFC_BAD_FLAGS)
    assert sw.c.request(msg.OFPGetConfigRequest(DP)).flags == of.OFPC_FRAG_NORMAL


def _ports(sw: Bed) -> dict[int, Any]:
    return {p.port_no: p for p in sw.c.request(msg.OFPPortDescStatsRequest(DP, 0)).body if p.port_no <= PORTS}


@clause("7.3.5.7-port-desc")
def test_port_descriptions(sw: Bed) -> None:
    ports = _ports(sw)
    assert {n: p.name.decode() for n, p in ports.items()} == {n: f"s{n}" for n in range(1, PORTS + 1)}
    assert all(p.config == 0 and not p.state & of.OFPPS_LINK_DOWN for p in ports.values())


def _configure(sw: Bed, number: int, config: int) -> None:
    mask = of.OFPPC_PORT_DOWN | of.OFPPC_NO_RECV | of.OFPPC_NO_FWD | of.OFPPC_NO_PACKET_IN
    sw.install(msg.OFPPortMod(DP, number, _ports(sw)[number].hw_addr, config, mask, 0))


@clause("7.2.1-port-config", "4.5-all", "6.2-barrier")
def test_port_configuration_holds_at_once(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2), output(of.OFPP_ALL)]), flow({"in_port": 3}, [output(4)]))
    try:
        _configure(sw, 2, of.OFPPC_NO_FWD)
        assert sw.exchange(1, UDP4, ports=(1, 3, 4)).out == {3: 1, 4: 1}
        _configure(sw, 2, 0)
        assert sw.exchange(1, UDP4).out == {2: 2, 3: 1, 4: 1}
        _configure(sw, 3, of.OFPPC_NO_RECV)
        sw.net.ports[3].send(UDP4)
        assert sw.after_marker(1).out == {}
    finally:
        _configure(sw, 2, 0)
        _configure(sw, 3, 0)
    assert sw.exchange(3, UDP4).out == {4: 1}


@clause("7.2.1-port-config")
def test_a_port_that_is_down_sends_nothing(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2), output(3)]))
    try:
        _configure(sw, 2, of.OFPPC_PORT_DOWN)
        assert sw.exchange(1, UDP4, ports=(1, 3, 4)).out == {3: 1}
        assert _ports(sw)[2].config & of.OFPPC_PORT_DOWN
    finally:
        _configure(sw, 2, 0)
        sw.net.link(2, up=True)
    sw.c.events(of.OFPT_PORT_STATUS)


@clause("7.2.1-port-config")
def test_no_packet_in_for_a_table_miss(sw: Bed) -> None:
    asked = flow({"in_port": 2, "eth_type": 0x0800}, [output(of.OFPP_CONTROLLER)])
    sw.install(asked, flow({}, [output(of.OFPP_CONTROLLER)], priority=0))
    try:
        _configure(sw, 2, of.OFPPC_NO_PACKET_IN)
        sw.net.ports[2].send(UDP6)
        sw.net.ports[2].send(UDP4)
        assert [p.reason for p in sw.after_marker(2).packet_ins] == [of.OFPR_ACTION]
    finally:
        _configure(sw, 2, 0)
    assert [p.reason for p in sw.exchange(2, UDP6).packet_ins] == [of.OFPR_NO_MATCH]


@clause("7.3.4.3-port-mod")
def test_port_mods_of_no_port_or_another_address(sw: Bed) -> None:
    assert sw.c.error(msg.OFPPortMod(DP, 99, "02:00:00:00:00:01", 0, 0, 0)) == (PORT_MOD, of.OFPPMFC_BAD_PORT)
    wrong = msg.OFPPortMod(DP, 1, "02:99:99:99:99:99", 0, 0, 0)
    assert sw.c.error(wrong) == (PORT_MOD, of.OFPPMFC_BAD_HW_ADDR)


@clause("7.4.3-port-status")
def test_a_port_mod_is_told_to_the_other_controllers(sw: Bed) -> None:
    other = sw.others[0]
    other.events(of.OFPT_PORT_STATUS)
    try:
        _configure(sw, 4, of.OFPPC_NO_RECV)
        event = other.await_event(of.OFPT_PORT_STATUS)
        assert (event.reason, event.desc.port_no, event.desc.config) == (of.OFPPR_MODIFY, 4, of.OFPPC_NO_RECV)
    finally:
        _configure(sw, 4, 0)


@clause("7.4.3-port-status")
def test_a_link_that_changes_is_told_of(sw: Bed) -> None:
    sw.c.events(of.OFPT_PORT_STATUS)
    for up in (False, True):
        sw.net.link(3, up=up)
        while (event := sw.c.await_event(of.OFPT_PORT_STATUS)).desc.port_no != 3 or _is_up(event) != up:
            pass
        assert event.reason == of.OFPPR_MODIFY


def _is_up(event: Any) -> bool:
    return not event.desc.state & of.OFPPS_LINK_DOWN


@clause("7.3.5.1-desc")
def test_description(sw: Bed) -> None:
    body = sw.c.request(msg.OFPDescStatsRequest(DP, 0)).body
    assert all((body.mfr_desc, body.hw_desc, body.sw_desc))


@clause("7.3.5.2-flow", "7.3.5.3-aggregate", "5.8-required")
def test_flow_and_aggregate_statistics(sw: Bed) -> None:
    actions = [set_field(eth_dst="02:00:00:00:00:aa"), output(2, 0), output(of.OFPP_CONTROLLER, 99)]
    sw.install(
        flow(
            {"in_port": 1}, actions, cookie=0x123456789ABCDEF, idle_timeout=20, hard_timeout=30, priority=4, table_id=0
        ),
        flow({"in_port": 1, "eth_type": 0x0800}, instructions=[msg.OFPInstructionGotoTable(9)], table_id=3),
    )
    sw.exchange(1, UDP4, UDP6)
    (first,) = sw.flow_stats(0, {"in_port": 1})
    assert (first.cookie, first.priority, first.idle_timeout, first.hard_timeout) == (0x123456789ABCDEF, 4, 20, 30)
    assert (first.packet_count, first.byte_count) == (2, len(UDP4) + len(UDP6))
    assert [_encoded(i) for i in first.instructions] == [_encoded(apply(*actions))]
    (second,) = sw.flow_stats(3)
    assert (second.instructions[0].table_id, second.packet_count, second.duration_sec < 30) == (9, 0, True)
    request = msg.OFPAggregateStatsRequest(DP, 0, of.OFPTT_ALL, of.OFPP_ANY, of.OFPG_ANY, 0, 0, msg.OFPMatch(in_port=1))
    total = sw.c.request(request).body
    assert (total.flow_count, total.packet_count, total.byte_count) == (2, 2, len(UDP4) + len(UDP6))


@clause("5.8-not-counted")
def test_what_is_not_counted_is_all_ones(sw: Bed) -> None:
    told = of.OFPFF_SEND_FLOW_REM
    sw.install(
        flow({"in_port": 1, "eth_type": 0x0800}, [output(2)], flags=of.OFPFF_NO_PKT_COUNTS | told),
        flow({"in_port": 1, "eth_type": 0x86DD}, [output(2)], flags=of.OFPFF_NO_BYT_COUNTS | told),
    )
    sw.exchange(1, UDP4, UDP6)
    unknown = 2**64 - 1
    v4, v6 = sorted(sw.flow_stats(), key=lambda entry: entry.match["eth_type"])
    assert (v4.packet_count, v4.byte_count) == (unknown, len(UDP4))
    assert (v6.packet_count, v6.byte_count) == (1, unknown)
    request = msg.OFPAggregateStatsRequest(DP, 0, of.OFPTT_ALL, of.OFPP_ANY, of.OFPG_ANY, 0, 0, msg.OFPMatch(in_port=1))
    total = sw.c.request(request).body
    assert (total.flow_count, total.packet_count, total.byte_count) == (2, unknown, unknown)
    sw.install(delete({"in_port": 1, "eth_type": 0x0800}))
    removed = sw.c.await_event(of.OFPT_FLOW_REMOVED)
    assert (removed.packet_count, removed.byte_count) == (unknown, len(UDP4))


def _encoded(instruction: Any) -> bytes:
    buffer = bytearray()
    instruction.serialize(buffer, 0)
    return bytes(buffer)


@clause("7.3.5-more", "7.3.5.2-flow")
def test_many_entries_come_in_several_messages(sw: Bed) -> None:
    n = 2000
    sw.install(*(flow({"eth_src": f"02:00:00:02:{k >> 8:02x}:{k & 255:02x}"}, [output(2)]) for k in range(n)))
    request = msg.OFPFlowStatsRequest(DP, 0, of.OFPTT_ALL, of.OFPP_ANY, of.OFPG_ANY, 0, 0, msg.OFPMatch())
    parts = sw.c.transact(request)
    assert sum(len(part.body) for part in parts) == n + 1
    assert [bool(part.flags & of.OFPMPF_REPLY_MORE) for part in parts] == [True] * (len(parts) - 1) + [False]
    assert len(parts) > 1


@clause("7.3.5.5-features")
def test_table_features(sw: Bed) -> None:
    tables = sw.c.request(msg.OFPTableFeaturesStatsRequest(DP, 0, [])).body
    assert len(tables) == sw.c.request(msg.OFPFeaturesRequest(DP)).n_tables
    assert len({t.table_id for t in tables}) == len(tables)
    properties = {p.type for p in tables[0].properties}
    needed = {of.OFPTFPT_INSTRUCTIONS, of.OFPTFPT_NEXT_TABLES, of.OFPTFPT_WRITE_ACTIONS, of.OFPTFPT_APPLY_ACTIONS}
    needed |= {of.OFPTFPT_MATCH, of.OFPTFPT_WILDCARDS, of.OFPTFPT_WRITE_SETFIELD, of.OFPTFPT_APPLY_SETFIELD}
    assert needed <= properties


@clause("7.3.5.4-table")
def test_every_table_has_statistics(sw: Bed) -> None:
    tables = sw.c.request(msg.OFPTableStatsRequest(DP, 0)).body
    assert len(tables) == sw.c.request(msg.OFPFeaturesRequest(DP)).n_tables


@clause("7.3.5.6-port", "5.8-required")
def test_port_statistics(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2)]))
    before = _port_stats(sw)
    frames = [over4(17, src_port=n) for n in range(1, 11)]
    sw.exchange(1, *frames)
    after = _port_stats(sw)
    size = len(UDP4)
    markers = 2
    assert after[1].rx_packets - before[1].rx_packets == 10 + markers
    assert after[2].tx_packets - before[2].tx_packets == 10 + markers
    assert after[2].tx_bytes - before[2].tx_bytes >= 10 * size
    assert after[1].duration_sec >= before[1].duration_sec >= 0


def _port_stats(sw: Bed) -> dict[int, Any]:
    sw.switch.settle()
    return {p.port_no: p for p in sw.c.request(msg.OFPPortStatsRequest(DP, 0, of.OFPP_ANY)).body}


@clause("7.3.6-queues")
def test_queue_configuration(sw: Bed) -> None:
    reply = sw.c.request(msg.OFPQueueGetConfigRequest(DP, 1))
    assert reply.port == 1
    error = sw.c.error(msg.OFPQueueGetConfigRequest(DP, 99))
    assert error == (of.OFPET_QUEUE_OP_FAILED, of.OFPQOFC_BAD_PORT)


@clause("7.3.7-packet-out")
def test_packet_outs_do_their_actions_or_drop(sw: Bed) -> None:
    sw.install(packet_out(PLAIN, []), packet_out(PLAIN, [set_field(eth_dst="02:00:00:00:00:aa"), output(2), output(3)]))
    changed = bytes.fromhex("0200000000aa") + PLAIN[6:]
    assert [sw.await_frame(n) for n in (2, 3)] == [changed, changed]
    assert sw.after_marker(1).out == {}


@clause("7.3.7-packet-out", "4.5-in-port")
def test_a_packet_out_has_an_ingress_port(sw: Bed) -> None:
    sw.install(packet_out(PLAIN, [output(of.OFPP_IN_PORT)], in_port=3))
    assert sw.await_frame(3) == PLAIN


@clause("7.3.7-buffer")
def test_no_such_buffer(sw: Bed) -> None:
    request = msg.OFPPacketOut(DP, 0x12345, of.OFPP_CONTROLLER, [output(1)], None)
    assert sw.c.error(request) in ((REQUEST, of.OFPBRC_BUFFER_UNKNOWN), (REQUEST, of.OFPBRC_BUFFER_EMPTY))


@clause("7.3.10-async", "6.3.4-all-get-events")
def test_asynchronous_configuration(sw: Bed) -> None:
    other = sw.others[0]
    before = other.request(msg.OFPGetAsyncRequest(DP))
    masks = [list(m) for m in (before.packet_in_mask, before.port_status_mask, before.flow_removed_mask)]
    other.transact(msg.OFPSetAsync(DP, [0, 0], masks[1], [1 << of.OFPRR_IDLE_TIMEOUT, 0]))
    told = other.request(msg.OFPGetAsyncRequest(DP))
    assert (list(told.packet_in_mask), list(told.flow_removed_mask)) == ([0, 0], [1 << of.OFPRR_IDLE_TIMEOUT, 0])
    other.events(of.OFPT_PACKET_IN)
    sw.install(flow({"in_port": 1}, [output(of.OFPP_CONTROLLER)], flags=of.OFPFF_SEND_FLOW_REM))
    assert len(sw.exchange(1, UDP4).packet_ins) == 1
    sw.install(delete({"in_port": 1}))
    assert len(sw.c.events(of.OFPT_FLOW_REMOVED)) == 1
    assert other.events(of.OFPT_PACKET_IN) + other.events(of.OFPT_FLOW_REMOVED) == []
    other.transact(msg.OFPSetAsync(DP, *masks))


@clause("7.4.1-packet-in")
def test_packet_ins_are_whole_unless_buffered(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(of.OFPP_CONTROLLER, 60)], cookie=0x77, table_id=0))
    (event,) = sw.exchange(1, UDP4).packet_ins
    assert (event.cookie, event.table_id, event.total_len) == (0x77, 0, len(UDP4))
    assert event.data == UDP4[:60] if event.buffer_id != of.OFP_NO_BUFFER else event.data in (UDP4, UDP4[:60])


@clause("7.4.1-packet-in")
def test_the_whole_packet_is_sent_when_asked_for(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(of.OFPP_CONTROLLER)]))
    big = UDP4 + bytes(1200)
    (event,) = sw.exchange(1, big).packet_ins
    assert (event.buffer_id, event.total_len, event.data) == (of.OFP_NO_BUFFER, len(big), big)


@clause("7.5.2-echo", "7.1-xid")
@pytest.mark.parametrize("size", [0, 1, 1400, 60000])
def test_echo(sw: Bed, size: int) -> None:
    data = bytes(n & 0xFF for n in range(size))
    assert (sw.c.request(msg.OFPEchoRequest(DP, data)).data or b"") == data


@clause("7.3.5.5-features")
def test_table_mod_is_accepted(sw: Bed) -> None:
    assert sw.c.error(msg.OFPTableMod(DP, of.OFPTT_ALL, 0)) is None


@clause("7.3.5-series")
def test_a_request_in_several_messages_is_answered_once(sw: Bed) -> None:
    parts = [msg.OFPTableFeaturesStatsRequest(DP, more, []) for more in (of.OFPMPF_REQ_MORE, 0)]
    xid = sw.c.send(parts[0])
    parts[1].set_xid(xid)
    parts[1].serialize()
    answers = sw.c.transact(bytes(parts[1].buf))
    assert {(a.msg_type, a.type) for a in answers} == {(of.OFPT_MULTIPART_REPLY, of.OFPMP_TABLE_FEATURES)}
    assert [bool(a.flags & of.OFPMPF_REPLY_MORE) for a in answers].count(False) == 1
