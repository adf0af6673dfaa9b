"""Sections 5.8 to 5.12: counters, instructions, action sets, action lists, tags."""

from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, apply, bucket, flow, group, output, set_field, write
from .clauses import clause
from .controller import DP
from .frames import PAYLOAD, PLAIN, UDP4, eth, frame, ip4, itag, over4, service_tag, shim, tag, transport

GOTO = msg.OFPInstructionGotoTable
CLEAR = msg.OFPInstructionActions(of.OFPIT_CLEAR_ACTIONS, [])
METADATA = msg.OFPInstructionWriteMetadata
AA, BB = "02:00:00:00:00:aa", "02:00:00:00:00:bb"


def _to(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", "")) + UDP4[6:]


@clause("5.9-write", "5.1-stop")
def test_written_actions_are_executed_at_the_end(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, instructions=[write(set_field(eth_dst=AA), output(2))]))
    assert sw.exchange(1, UDP4).frames[2] == [_to(AA)]


@clause("5.9-apply", "5.11-set-after-list")
def test_applied_actions_act_at_once_and_leave_the_set_alone(sw: Bed) -> None:
    sw.install(
        flow({"in_port": 1}, instructions=[apply(output(3)), write(set_field(eth_dst=AA), output(2)), GOTO(1)]),
        flow({}, [output(4)], table_id=1),
    )
    assert sw.exchange(1, UDP4).frames == {1: [], 2: [_to(AA)], 3: [UDP4], 4: [UDP4]}


@clause("5.9-clear")
def test_clear_empties_the_set(sw: Bed) -> None:
    sw.install(
        flow({}, instructions=[write(output(2)), GOTO(1)]),
        flow({"in_port": 1}, instructions=[CLEAR], table_id=1),
        flow({"in_port": 3}, instructions=[CLEAR, write(output(4))], table_id=1),
    )
    assert sw.exchange(1, UDP4).out == {}
    assert sw.exchange(3, UDP4).out == {4: 1}


@clause("5.9-metadata", "7.2.3.7-fields")
def test_metadata_is_written_under_its_mask(sw: Bed) -> None:
    sw.install(
        flow({}, instructions=[METADATA(0x1234567890ABCDEF, 0xFFFFFFFFFFFFFFFF), GOTO(1)]),
        flow({}, instructions=[METADATA(0xFF, 0xF0), GOTO(2)], table_id=1),
        flow({"metadata": 0x1234567890ABCDFF}, [output(2)], table_id=2),
        flow({"metadata": (0x1234000000000000, 0xFFFF000000000000)}, [output(3)], table_id=2, priority=1),
    )
    assert sw.exchange(1, UDP4).out == {2: 1}


@clause("5.9-metadata")
def test_metadata_starts_as_zero_and_is_told_in_packet_ins(sw: Bed) -> None:
    sw.install(
        flow({"metadata": 0}, instructions=[METADATA(5, 7), GOTO(1)]),
        flow({}, [output(of.OFPP_CONTROLLER)], table_id=1),
    )
    (event,) = sw.exchange(1, UDP4).packet_ins
    assert event.match["metadata"] == 5


@clause("5.9-order")
def test_order_of_instructions_is_not_the_order_of_sending(sw: Bed) -> None:
    sw.install(
        flow({}, instructions=[write(output(4)), GOTO(1)]),
        flow({}, instructions=[GOTO(2), METADATA(1, 1), write(output(2)), CLEAR, apply(output(3))], table_id=1),
        flow({"metadata": 1}, instructions=[], table_id=2),
    )
    assert sw.exchange(1, UDP4).out == {2: 1, 3: 1}


@clause("5.10-order")
def test_the_set_is_executed_in_its_own_order(sw: Bed) -> None:
    # Written from last to first; executed: pop, push MPLS, push PBB, push VLAN, decrement TTL, set, output.
    sw.install(
        flow(
            {"in_port": 1, "vlan_vid": 0x1005, "eth_type": 0x0800},
            instructions=[
                write(
                    output(2),
                    set_field(vlan_vid=0x1009),
                    msg.OFPActionPushVlan(0x8100),
                    msg.OFPActionPushMpls(0x8847),
                    msg.OFPActionPopVlan(),
                )
            ],
        )
    )
    came = frame(eth(0x8100), tag(5, 0x0800), ip4(17), transport(17), PAYLOAD)
    left = frame(eth(0x8100), tag(9, 0x8847), shim(0, ttl=64), ip4(17), transport(17), PAYLOAD)
    assert sw.exchange(1, came).frames[2] == [left]


@clause("5.10-order")
def test_the_set_copies_ttl_inwards_first_and_decrements_last(sw: Bed) -> None:
    sw.install(
        flow(
            {"in_port": 1, "eth_type": 0x8847},
            instructions=[
                write(output(2), msg.OFPActionDecNwTtl(), msg.OFPActionPopMpls(0x0800), msg.OFPActionCopyTtlIn())
            ],
        )
    )
    came = frame(eth(0x8847), shim(7, ttl=20), ip4(17), transport(17), PAYLOAD)
    assert sw.exchange(1, came).frames[2] == [over4(17, ip={"ttl": 19})]


@clause("5.10-overwrite", "5.10-across-tables")
def test_a_later_action_of_the_same_type_replaces_the_earlier(sw: Bed) -> None:
    sw.install(
        flow({}, instructions=[write(set_field(eth_dst=AA), set_field(eth_src=BB), output(3)), GOTO(1)]),
        flow({}, instructions=[write(output(2), set_field(eth_dst=BB))], table_id=1),
    )
    changed = bytes.fromhex((BB * 2).replace(":", "")) + UDP4[12:]
    assert sw.exchange(1, UDP4).frames == {1: [], 2: [changed], 3: [], 4: []}


@clause("5.10-group-over-output")
@pytest.mark.parametrize("first", ["group", "output"])
def test_a_group_in_the_set_goes_before_its_output(sw: Bed, first: str) -> None:
    actions = [msg.OFPActionGroup(1), output(2)]
    sw.install(
        group(of.OFPGT_INDIRECT, 1, bucket(output(3))),
        flow({}, instructions=[write(*(actions if first == "group" else actions[::-1]))]),
    )
    assert sw.exchange(1, UDP4).out == {3: 1}


@clause("5.10-nothing", "5.12-drop")
def test_without_output_or_group_it_drops(sw: Bed) -> None:
    sw.install(
        flow({"in_port": 1}, instructions=[write(set_field(eth_dst=AA))]),
        flow({"in_port": 2}, instructions=[apply(set_field(eth_dst=AA))]),
        flow({"in_port": 3}, instructions=[]),
    )
    assert [sw.exchange(n, UDP4).out for n in (1, 2, 3)] == [{}, {}, {}]


@clause("5.11-in-order", "5.11-copy")
def test_a_list_is_executed_in_order_and_outputs_send_copies(sw: Bed) -> None:
    sw.install(
        flow({"in_port": 1}, [output(2), set_field(eth_dst=AA), output(3), set_field(eth_dst=BB), output(4), output(2)])
    )
    assert sw.exchange(1, UDP4).frames == {1: [], 2: [UDP4, _to(BB)], 3: [_to(AA)], 4: [_to(BB)]}


@clause("5.11-in-order", "5.12-outermost")
def test_two_pushes_push_two_tags(sw: Bed) -> None:
    push = msg.OFPActionPushVlan
    sw.install(
        flow(
            {"in_port": 1},
            [push(0x8100), set_field(vlan_vid=0x1007), push(0x88A8), set_field(vlan_vid=0x1008), output(2)],
        )
    )
    left = frame(eth(0x88A8), service_tag(8, 0x8100), tag(7, 0x1234), PAYLOAD)
    assert sw.exchange(1, PLAIN).frames[2] == [left]


@clause("5.12.1-defaults", "7.2.5-vlan")
def test_a_pushed_vlan_tag_copies_id_and_priority(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [msg.OFPActionPushVlan(0x88A8), output(2)]))
    assert sw.exchange(1, PLAIN).frames[2] == [frame(eth(0x88A8), service_tag(0, 0x1234), PAYLOAD)]
    came = frame(eth(0x8100), tag(5, 0x1234, pcp=3), PAYLOAD)
    left = frame(eth(0x88A8), service_tag(5, 0x8100, pcp=3), tag(5, 0x1234, pcp=3), PAYLOAD)
    assert sw.exchange(1, came).frames[2] == [left]


@clause("5.12.1-defaults", "7.2.5-mpls")
def test_a_pushed_shim_copies_label_class_and_ttl(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [msg.OFPActionPushMpls(0x8847), output(2)]))
    packet = (ip4(17, ttl=9), transport(17), PAYLOAD)
    assert sw.exchange(1, frame(eth(0x0800), *packet)).frames[2] == [frame(eth(0x8847), shim(0, ttl=9), *packet)]
    came = frame(eth(0x8847), shim(77, tc=5, ttl=31), *packet)
    left = frame(eth(0x8847), shim(77, tc=5, ttl=31, bottom=0), shim(77, tc=5, ttl=31), *packet)
    assert sw.exchange(1, came).frames[2] == [left]


@clause("5.12-outermost", "7.2.5-mpls")
def test_a_pushed_shim_goes_before_vlan_tags(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [msg.OFPActionPushMpls(0x8847), output(2)]))
    came = frame(eth(0x8100), tag(5, 0x1234), PAYLOAD)
    assert sw.exchange(1, came).frames[2] == [came[:12] + b"\x88\x47\x00\x00\x01\x00" + came[14:]]


@clause("5.12.1-defaults", "7.2.5-pbb")
def test_a_pushed_itag_copies_the_priority(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [msg.OFPActionPushPbb(0x88E7), output(2)]))
    came = frame(eth(0x8100), tag(5, 0x1234, pcp=6), PAYLOAD)
    left = frame(eth(0x88E7), itag(0, pcp=6), eth(0x8100), tag(5, 0x1234, pcp=6), PAYLOAD)
    assert sw.exchange(1, came).frames[2] == [left]


@clause("5.8-required", "7.3.5.4-table")
def test_table_counters(sw: Bed) -> None:
    before = _table(sw, 3)
    sw.install(
        flow({}, instructions=[GOTO(3)]),
        flow({"in_port": 1}, [output(2)], table_id=3),
        flow({"in_port": 2}, table_id=3),
    )
    sw.exchange(1, UDP4)
    sw.exchange(4, UDP4)
    after = _table(sw, 3)
    assert after.active_count == 2
    assert (after.lookup_count - before.lookup_count, after.matched_count - before.matched_count) == (2, 1)


def _table(sw: Bed, table_id: int) -> Any:
    (table,) = [t for t in sw.c.request(msg.OFPTableStatsRequest(DP)).body if t.table_id == table_id]
    return table
