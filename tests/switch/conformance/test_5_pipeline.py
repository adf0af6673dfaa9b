"""Sections 5.1 to 5.5: pipeline, tables, matching, table-miss, removal."""

from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, apply, delete, flow, output, set_field, write
from .clauses import clause
from .controller import DP
from .frames import DST, PLAIN, SRC, TCP4, UDP4, UDP6, over4

GOTO = msg.OFPInstructionGotoTable


@clause("5.1-first-table", "5.1-stop")
def test_starts_at_table_0_and_stops_without_goto(sw: Bed) -> None:
    sw.install(flow({}, [output(2)], table_id=1), flow({"in_port": 1}, [output(3)]))
    assert sw.exchange(1, UDP4).out == {3: 1}
    assert sw.exchange(2, UDP4).out == {}


@clause("5.1-forward-only", "5.1-stop")
def test_goto_leads_on_and_the_action_set_is_executed_at_the_end(sw: Bed) -> None:
    sw.install(
        flow({}, instructions=[write(output(2)), GOTO(5)]),
        flow({}, instructions=[GOTO(200)], table_id=5),
        flow({}, [output(3)], table_id=200),
    )
    assert sw.exchange(1, UDP4).out == {2: 1, 3: 1}


@clause("5.1-forward-only")
@pytest.mark.parametrize("target", [3, 2, 0])
def test_goto_does_not_lead_back(sw: Bed, target: int) -> None:
    error = sw.c.error(flow({}, instructions=[GOTO(target)], table_id=3))
    assert error == (of.OFPET_BAD_INSTRUCTION, of.OFPBIC_BAD_TABLE_ID)


@clause("5.2-identity", "6.4-add-replaces")
def test_same_match_and_priority_is_the_same_entry(sw: Bed) -> None:
    match = {"in_port": 1, "eth_type": 0x0800}
    sw.install(flow(match, [output(2)]), flow(match, [output(3)]), flow(match, [output(4)], priority=9))
    assert len(sw.flow_stats()) == 2
    assert sw.exchange(1, UDP4).out == {3: 1}


@clause("5.3-priority", "6.2-barrier")
def test_highest_priority_wins_whatever_the_order_of_arrival(sw: Bed) -> None:
    for port, priority in ((2, 100), (4, 300), (3, 200)):
        sw.install(flow({"in_port": 1}, [output(port)], priority=priority))
    assert sw.exchange(1, UDP4).out == {4: 1}
    sw.install(flow({"in_port": 1}, priority=300, command=of.OFPFC_DELETE_STRICT))
    assert sw.exchange(1, UDP4).out == {3: 1}


@clause("5.3-priority")
def test_priority_counts_between_entries_of_different_fields(sw: Bed) -> None:
    sw.install(
        flow({"eth_type": 0x0800, "ip_proto": 17, "udp_dst": 2000}, [output(2)], priority=5),
        flow({"eth_src": SRC}, [output(3)], priority=6),
        flow({"eth_type": 0x0800, "ipv4_dst": ("192.168.0.0", "255.255.0.0")}, [output(4)], priority=7),
    )
    assert sw.exchange(1, UDP4).out == {4: 1}
    assert sw.exchange(1, over4(17, ip={"dst": "10.9.9.9"})).out == {3: 1}


@clause("5.3-counters", "5.3-omitted")
def test_only_the_selected_entry_counts(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2)], cookie=1), flow({}, [output(3)], priority=1, cookie=2))
    sw.exchange(1, UDP4, UDP6)
    sw.exchange(4, PLAIN)
    counts = {entry.cookie: (entry.packet_count, entry.byte_count) for entry in sw.flow_stats()}
    assert counts == {1: (2, len(UDP4) + len(UDP6)), 2: (1, len(PLAIN))}


@clause("5.3-rewritten")
def test_later_tables_match_what_was_applied_but_not_what_was_written(sw: Bed) -> None:
    later = [
        flow({"eth_dst": "02:00:00:00:00:aa"}, [output(2)], table_id=1),
        flow({"eth_dst": DST}, [output(3)], table_id=1),
    ]
    change = set_field(eth_dst="02:00:00:00:00:aa")
    sw.install(
        *later,
        flow({"in_port": 1}, instructions=[apply(change), GOTO(1)]),
        flow({"in_port": 4}, instructions=[write(change), GOTO(1)]),
    )
    assert sw.exchange(1, UDP4).out == {2: 1}
    assert sw.exchange(4, UDP4).out == {3: 1}


MISS: dict[str, Any] = {"priority": 0}


@clause("5.4-every-table", "5.4-goto", "5.4-controller")
def test_table_miss_in_every_table(sw: Bed) -> None:
    tables = sw.c.request(msg.OFPFeaturesRequest(DP)).n_tables
    last = tables - 1
    sw.install(*(flow({}, instructions=[GOTO(n + 1)], table_id=n, **MISS) for n in range(last)))
    sw.install(flow({}, [output(of.OFPP_CONTROLLER)], table_id=last, **MISS))
    seen = sw.exchange(1, UDP4)
    assert [(p.reason, p.table_id) for p in seen.packet_ins] == [(of.OFPR_NO_MATCH, last)]


@clause("5.4-controller")
def test_table_miss_to_the_controller_is_no_match(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2)]), flow({}, [output(of.OFPP_CONTROLLER)], cookie=3, **MISS))
    assert sw.exchange(1, UDP4).packet_ins == []
    (event,) = sw.exchange(2, UDP4).packet_ins
    assert (event.reason, event.cookie, event.table_id, event.data) == (of.OFPR_NO_MATCH, 3, 0, UDP4)


@clause("5.4-controller")
def test_an_entry_of_priority_0_that_matches_a_field_is_no_table_miss(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(of.OFPP_CONTROLLER)], priority=0))
    assert [p.reason for p in sw.exchange(1, UDP4).packet_ins] == [of.OFPR_ACTION]


@clause("5.4-drop")
def test_table_miss_can_drop(sw: Bed) -> None:
    sw.install(flow({}, **MISS))
    seen = sw.exchange(1, UDP4)
    assert (seen.out, seen.packet_ins) == ({}, [])
    assert [entry.packet_count for entry in sw.flow_stats()] == [1]


@clause("5.4-removable", "5.4-none")
def test_table_miss_comes_and_goes(sw: Bed) -> None:
    for _ in range(2):
        seen = sw.exchange(1, UDP4)
        assert (seen.out, seen.packet_ins) == ({}, [])
        sw.install(flow({}, [output(2)], **MISS))
        assert sw.exchange(1, UDP4).out == {2: 1}
        sw.install(flow({}, command=of.OFPFC_DELETE_STRICT, **MISS))


@clause("5.4-none")
def test_a_miss_in_a_later_table_drops_the_action_set_too(sw: Bed) -> None:
    sw.install(flow({}, instructions=[write(output(2)), GOTO(1)]), flow({"in_port": 3}, [output(4)], table_id=1))
    assert sw.exchange(1, UDP4).out == {}


@clause("5.5-hard", "5.5-idle", "5.5-notify", "7.4.2-flow-removed")
def test_timeouts(sw: Bed) -> None:
    told: dict[str, Any] = {"flags": of.OFPFF_SEND_FLOW_REM}
    sw.install(
        flow({"in_port": 1}, [output(2)], hard_timeout=1, cookie=1, **told),
        flow({"in_port": 3}, [output(4)], idle_timeout=1, cookie=2, **told),
    )
    assert sw.exchange(1, UDP4, TCP4).out == {2: 2}
    gone = sorted((sw.c.await_event(of.OFPT_FLOW_REMOVED) for _ in range(2)), key=lambda e: int(e.cookie))
    assert [(e.cookie, e.reason, e.packet_count, e.duration_sec) for e in gone] == [
        (1, of.OFPRR_HARD_TIMEOUT, 2, 1),
        (2, of.OFPRR_IDLE_TIMEOUT, 0, 1),
    ]
    assert sw.exchange(1, UDP4).out == {}
    assert sw.flow_stats() == []


@clause("5.5-idle")
def test_traffic_keeps_an_idle_entry(sw: Bed) -> None:
    sw.install(
        flow({"in_port": 1}, [output(2)], idle_timeout=2),
        flow({"in_port": 3}, [output(2)], hard_timeout=1, flags=of.OFPFF_SEND_FLOW_REM),
    )
    for _ in range(3):  # three of another entry's seconds, each with a packet in it
        assert sw.exchange(1, UDP4).out == {2: 1}
        sw.c.await_event(of.OFPT_FLOW_REMOVED)
        sw.install(flow({"in_port": 3}, [output(2)], hard_timeout=1, flags=of.OFPFF_SEND_FLOW_REM))
    assert sw.exchange(1, UDP4).out == {2: 1}


@clause("5.5-notify", "5.5-quiet", "7.4.2-flow-removed")
def test_a_deleted_entry_is_told_of_if_it_asks(sw: Bed) -> None:
    match = {"in_port": 1, "eth_type": 0x0800, "ipv4_dst": ("10.0.0.0", "255.0.0.0")}
    sw.install(
        flow(
            match, [output(2)], priority=7, cookie=0xABC, idle_timeout=90, hard_timeout=91, flags=of.OFPFF_SEND_FLOW_REM
        ),
        flow({"in_port": 2}, [output(1)]),
    )
    packet = over4(17, ip={"dst": "10.1.1.1"})
    sw.exchange(1, packet)
    sw.install(delete({"in_port": 1}), delete({"in_port": 2}))
    (event,) = sw.c.events(of.OFPT_FLOW_REMOVED)
    assert dict(event.match.items()) == match
    assert (event.priority, event.cookie, event.idle_timeout, event.hard_timeout) == (7, 0xABC, 90, 91)
    assert (event.reason, event.table_id) == (of.OFPRR_DELETE, 0)
    assert (event.packet_count, event.byte_count) == (1, len(packet))
