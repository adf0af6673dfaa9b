"""Section 6.4: flow table modification."""

from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, bucket, delete, flow, group, output
from .clauses import clause
from .controller import DP
from .frames import DST, PLAIN, UDP4

MODIFY, MODIFY_STRICT, DELETE_STRICT = of.OFPFC_MODIFY, of.OFPFC_MODIFY_STRICT, of.OFPFC_DELETE_STRICT
FAILED = of.OFPET_FLOW_MOD_FAILED
IP = {"eth_type": 0x0800}


def _cookies(sw: Bed) -> list[int]:
    return sorted(entry.cookie for entry in sw.flow_stats())


@clause("6.4-add-overlap")
def test_check_overlap(sw: Bed) -> None:
    sw.install(flow({"in_port": 1, **IP}, [output(2)]))
    checked: dict[str, Any] = {"flags": of.OFPFF_CHECK_OVERLAP}
    assert sw.c.error(flow({"eth_dst": DST}, [output(3)], **checked)) == (FAILED, of.OFPFMFC_OVERLAP)
    assert sw.c.error(flow({"in_port": 1}, [output(3)], **checked)) == (FAILED, of.OFPFMFC_OVERLAP)
    assert sw.c.error(flow({"in_port": 1}, [output(3)], priority=11, **checked)) is None
    assert sw.c.error(flow({"in_port": 2}, [output(3)], **checked)) is None
    assert sw.c.error(flow({"eth_dst": DST}, [output(3)])) is None


@clause("6.4-add-replaces")
def test_an_identical_entry_starts_anew(sw: Bed) -> None:
    told: dict[str, Any] = {"flags": of.OFPFF_SEND_FLOW_REM}
    sw.install(flow({"in_port": 1}, [output(2)], cookie=1, idle_timeout=50, **told))
    sw.exchange(1, UDP4)
    sw.install(flow({"in_port": 1}, [output(3)], cookie=2))
    (entry,) = sw.flow_stats()
    assert (entry.cookie, entry.packet_count, entry.idle_timeout, entry.flags) == (2, 1, 0, 0)
    sw.install(flow({"in_port": 1}, [output(3)], cookie=3, flags=of.OFPFF_RESET_COUNTS))
    (entry,) = sw.flow_stats()
    assert (entry.cookie, entry.packet_count, entry.byte_count) == (3, 0, 0)
    assert sw.c.events(of.OFPT_FLOW_REMOVED) == []


@clause("6.4-modify", "5.3-counters")
@pytest.mark.parametrize("command", [MODIFY, MODIFY_STRICT], ids=["modify", "strict"])
def test_modify_changes_the_instructions_alone(sw: Bed, command: int) -> None:
    sw.install(
        flow({"in_port": 1}, [output(2)], cookie=1, idle_timeout=50, hard_timeout=60, flags=of.OFPFF_SEND_FLOW_REM)
    )
    sw.exchange(1, UDP4)
    sw.install(flow({"in_port": 1}, [output(3)], cookie=9, idle_timeout=5, command=command))
    assert sw.exchange(1, UDP4).out == {3: 1}
    (entry,) = sw.flow_stats()
    assert (entry.cookie, entry.packet_count, entry.idle_timeout, entry.hard_timeout) == (1, 2, 50, 60)
    assert entry.flags == of.OFPFF_SEND_FLOW_REM


@clause("6.4-modify")
def test_modify_changes_all_that_its_match_covers_at_any_priority(sw: Bed) -> None:
    sw.install(
        flow({"in_port": 1, **IP}, [output(2)], priority=5, cookie=1),
        flow({"in_port": 1}, [output(2)], priority=4, cookie=2),
        flow({}, [output(2)], priority=3, cookie=3),
        flow({"in_port": 1}, [output(3)], priority=99, command=MODIFY),
    )
    targets = {entry.cookie: entry.instructions[0].actions[0].port for entry in sw.flow_stats()}
    assert targets == {1: 3, 2: 3, 3: 2}


@clause("6.4-modify-none")
@pytest.mark.parametrize("command", [MODIFY, MODIFY_STRICT], ids=["modify", "strict"])
def test_modify_of_nothing_adds_nothing(sw: Bed, command: int) -> None:
    sw.install(flow({"in_port": 1}, [output(2)], command=command))
    assert sw.flow_stats() == []


@clause("6.4-modify-strict")
def test_modify_strict_takes_match_and_priority_exactly(sw: Bed) -> None:
    sw.install(
        flow({"in_port": 1, **IP}, [output(2)], cookie=1),
        flow({"in_port": 1}, [output(2)], priority=11, cookie=2),
        flow({"in_port": 1}, [output(2)], cookie=3),
        flow({"in_port": 1}, [output(4)], command=MODIFY_STRICT),
    )
    targets = {entry.cookie: entry.instructions[0].actions[0].port for entry in sw.flow_stats()}
    assert targets == {1: 2, 2: 2, 3: 4}


@clause("6.4-reset-counts")
@pytest.mark.parametrize("command", [MODIFY, MODIFY_STRICT], ids=["modify", "strict"])
def test_reset_counts(sw: Bed, command: int) -> None:
    sw.install(flow({"in_port": 1}, [output(2)]))
    sw.exchange(1, UDP4)
    sw.install(flow({"in_port": 1}, [output(2)], command=command, flags=of.OFPFF_RESET_COUNTS))
    (entry,) = sw.flow_stats()
    assert (entry.packet_count, entry.byte_count) == (0, 0)


def _four(sw: Bed) -> None:
    sw.install(
        flow({"in_port": 1, **IP}, [output(2)], cookie=0x11),
        flow({"in_port": 1}, [output(3)], priority=11, cookie=0x12),
        flow({"in_port": 2}, [output(2), output(3)], cookie=0x21),
        flow({}, [output(4)], priority=1, cookie=0x22, table_id=7),
    )


@clause("6.4-delete")
def test_delete_takes_what_its_match_covers(sw: Bed) -> None:
    _four(sw)
    sw.install(delete({"in_port": 1}, priority=77))
    assert _cookies(sw) == [0x21, 0x22]
    sw.install(delete({"in_port": 3}), delete({}), delete({}))
    assert sw.flow_stats() == []


@clause("6.4-delete")
def test_delete_leaves_what_is_wider_than_its_match(sw: Bed) -> None:
    _four(sw)
    sw.install(delete({"in_port": 1, **IP}))
    assert _cookies(sw) == [0x12, 0x21, 0x22]


@clause("6.4-delete-strict")
def test_delete_strict_takes_match_and_priority_exactly(sw: Bed) -> None:
    _four(sw)
    sw.install(flow({"in_port": 1}, command=DELETE_STRICT))
    assert len(_cookies(sw)) == 4
    sw.install(flow({"in_port": 1}, priority=11, command=DELETE_STRICT))
    assert _cookies(sw) == [0x11, 0x21, 0x22]


@clause("6.4-delete-filters", "7.3.5.2-flow")
def test_out_port_narrows(sw: Bed) -> None:
    _four(sw)
    assert sorted(e.cookie for e in sw.flow_stats(out_port=3)) == [0x12, 0x21]
    sw.install(delete({}, out_port=2))
    assert _cookies(sw) == [0x12, 0x22]


@clause("6.4-delete-filters")
def test_out_group_narrows(sw: Bed) -> None:
    sw.install(group(of.OFPGT_ALL, 5, bucket(output(2))), flow({"in_port": 1}, [msg.OFPActionGroup(5)], cookie=1))
    sw.install(flow({"in_port": 2}, [output(2)], cookie=2))
    assert [e.cookie for e in sw.flow_stats(out_group=5)] == [1]
    sw.install(delete({}, out_group=5))
    assert _cookies(sw) == [2]


@clause("6.4-delete-filters")
def test_out_port_does_not_narrow_modify(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2)]), flow({"in_port": 1}, [output(4)], command=MODIFY, out_port=3))
    assert sw.exchange(1, PLAIN).out == {4: 1}


@clause("6.4-cookie")
def test_cookies_narrow(sw: Bed) -> None:
    _four(sw)
    assert sorted(e.cookie for e in sw.flow_stats(cookie=0x10, cookie_mask=0xF0)) == [0x11, 0x12]
    sw.install(flow({}, [output(1)], cookie=0x02, cookie_mask=0x0F, command=MODIFY))
    sw.install(delete({}, cookie=0x20, cookie_mask=0xF0))
    entries = {e.cookie: e.instructions[0].actions[0].port for e in sw.flow_stats()}
    assert entries == {0x11: 2, 0x12: 1}
    sw.install(delete({}, cookie=0x13, cookie_mask=0xFF))
    assert len(sw.flow_stats()) == 2


@clause("6.4-all-tables", "6.4-bad-table")
def test_only_deletes_name_all_tables(sw: Bed) -> None:
    bad = (FAILED, of.OFPFMFC_BAD_TABLE_ID)
    assert sw.c.error(flow({}, [output(1)], table_id=of.OFPTT_ALL)) == bad
    assert sw.c.error(flow({}, [output(1)], table_id=of.OFPTT_MAX)) == bad
    _four(sw)
    sw.install(delete({}, table_id=7))
    assert 0x22 not in _cookies(sw)
    assert len(_cookies(sw)) == 3


@clause("6.4-bad-command")
def test_an_unknown_command_is_refused(sw: Bed) -> None:
    assert sw.c.error(flow({}, [output(1)], command=5)) == (FAILED, of.OFPFMFC_BAD_COMMAND)


@clause("6.4-add-replaces")
def test_an_unknown_flag_is_refused(sw: Bed) -> None:
    assert sw.c.error(flow({}, [output(1)], flags=0x8000)) == (FAILED, of.OFPFMFC_BAD_FLAGS)


@clause("6.4-delete")
def test_a_delete_needs_no_instructions(sw: Bed) -> None:
    _four(sw)
    sw.install(
        msg.OFPFlowMod(DP, command=of.OFPFC_DELETE, table_id=of.OFPTT_ALL, out_port=of.OFPP_ANY, out_group=of.OFPG_ANY)
    )
    assert sw.flow_stats() == []
