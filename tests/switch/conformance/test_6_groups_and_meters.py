"""Sections 6.5 and 6.6: group and meter modification, and what they say of themselves (7.3.5.9 to 7.3.5.14)."""

from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, apply, bucket, flow, group, output
from .clauses import clause
from .controller import DP
from .frames import UDP4

TO = msg.OFPActionGroup
GROUP, METER = of.OFPET_GROUP_MOD_FAILED, of.OFPET_METER_MOD_FAILED
MODIFY, DELETE = of.OFPGC_MODIFY, of.OFPGC_DELETE


@clause("6.5-add-exists")
def test_a_group_is_added_once(sw: Bed) -> None:
    sw.install(group(of.OFPGT_ALL, 1, bucket(output(2))))
    assert sw.c.error(group(of.OFPGT_ALL, 1)) == (GROUP, of.OFPGMFC_GROUP_EXISTS)


@clause("6.5-modify")
def test_a_modified_group_is_another_for_its_entries(sw: Bed) -> None:
    sw.install(group(of.OFPGT_ALL, 1, bucket(output(2))), flow({"in_port": 1}, [TO(1)]))
    assert sw.exchange(1, UDP4).out == {2: 1}
    sw.install(group(of.OFPGT_INDIRECT, 1, bucket(output(3)), command=MODIFY))
    assert sw.exchange(1, UDP4).out == {3: 1}
    assert sw.c.error(group(of.OFPGT_ALL, 2, command=MODIFY)) == (GROUP, of.OFPGMFC_UNKNOWN_GROUP)


@clause("6.5-delete", "5.5-notify")
def test_a_deleted_group_takes_its_entries_along(sw: Bed) -> None:
    sw.install(group(of.OFPGT_ALL, 1, bucket(output(2))), group(of.OFPGT_ALL, 2, bucket(output(3))))
    sw.install(
        flow({"in_port": 1}, [TO(1)], cookie=1, flags=of.OFPFF_SEND_FLOW_REM), flow({"in_port": 2}, [TO(2)], cookie=2)
    )
    sw.install(group(of.OFPGT_ALL, 1, command=DELETE))
    assert [e.cookie for e in sw.flow_stats()] == [2]
    assert [(e.cookie, e.reason) for e in sw.c.events(of.OFPT_FLOW_REMOVED)] == [(1, of.OFPRR_GROUP_DELETE)]
    assert sw.exchange(1, UDP4).out == {}
    sw.install(group(of.OFPGT_ALL, 1, command=DELETE), group(of.OFPGT_ALL, of.OFPG_ALL, command=DELETE))
    assert sw.flow_stats() == []
    assert sw.c.request(msg.OFPGroupDescStatsRequest(DP, 0)).body == []


@clause("6.5-loop")
def test_groups_do_not_lead_in_a_circle(sw: Bed) -> None:
    sw.install(group(of.OFPGT_ALL, 1, bucket(output(2))), group(of.OFPGT_ALL, 2, bucket(TO(1))))
    assert sw.c.error(group(of.OFPGT_ALL, 1, bucket(TO(2)), command=MODIFY)) == (GROUP, of.OFPGMFC_LOOP)


@clause("6.5-loop")
def test_a_group_does_not_lead_to_itself(sw: Bed) -> None:
    assert sw.c.error(group(of.OFPGT_ALL, 3, bucket(TO(3)))) is not None


@clause("6.5-loop")
def test_groups_do_not_watch_in_a_circle(sw: Bed) -> None:
    sw.install(group(of.OFPGT_FF, 1, bucket(output(2), watch_port=3)))
    sw.install(group(of.OFPGT_FF, 2, bucket(output(2), watch_group=1)))
    looped = bucket(output(2), watch_group=2)
    assert sw.c.error(group(of.OFPGT_FF, 1, looped, command=MODIFY)) == (GROUP, of.OFPGMFC_LOOP)


@clause("6.5-weight")
def test_shapes_of_groups(sw: Bed) -> None:
    invalid = (GROUP, of.OFPGMFC_INVALID_GROUP)
    assert sw.c.error(group(of.OFPGT_ALL, 1, bucket(output(2), weight=1))) == invalid
    assert sw.c.error(group(of.OFPGT_INDIRECT, 1, bucket(output(2)), bucket(output(3)))) == invalid
    assert sw.c.error(group(of.OFPGT_INDIRECT, 1)) == invalid
    assert sw.c.error(group(of.OFPGT_ALL, of.OFPG_ALL)) == invalid


@clause("6.5-weight")
def test_an_unknown_type_or_command_is_refused(sw: Bed) -> None:
    assert sw.c.error(group(9, 1)) == (GROUP, of.OFPGMFC_BAD_TYPE)
    assert sw.c.error(group(of.OFPGT_ALL, 1, command=9)) == (GROUP, of.OFPGMFC_BAD_COMMAND)


@clause("6.5-unknown-target")
def test_no_entry_leads_to_a_group_that_is_not_there(sw: Bed) -> None:
    error = (of.OFPET_BAD_ACTION, of.OFPBAC_BAD_OUT_GROUP)
    assert sw.c.error(flow({}, [TO(5)])) == error
    assert sw.c.error(group(of.OFPGT_ALL, 1, bucket(TO(5)))) == error


@clause("7.3.5.9-group", "7.3.5.10-group-desc", "5.8-required")
def test_groups_are_described_and_counted(sw: Bed) -> None:
    sw.install(
        group(of.OFPGT_SELECT, 1, bucket(output(2), weight=3)),
        group(of.OFPGT_ALL, 2, bucket(output(3)), bucket(output(4))),
        flow({"in_port": 1}, [TO(2)]),
    )
    sw.exchange(1, UDP4, UDP4)
    sw.switch.settle()
    one, two = sorted(sw.c.request(msg.OFPGroupDescStatsRequest(DP, 0)).body, key=lambda d: int(d.group_id))
    assert (one.type, one.buckets[0].weight, one.buckets[0].actions[0].port) == (of.OFPGT_SELECT, 3, 2)
    assert (two.type, [b.actions[0].port for b in two.buckets]) == (of.OFPGT_ALL, [3, 4])
    (stats,) = sw.c.request(msg.OFPGroupStatsRequest(DP, 0, 2)).body
    assert (stats.ref_count, stats.packet_count, stats.byte_count) == (1, 2, 2 * len(UDP4))
    assert [b.packet_count for b in stats.bucket_stats] == [2, 2]
    assert len(sw.c.request(msg.OFPGroupStatsRequest(DP, 0, of.OFPG_ALL)).body) == 2


@clause("7.3.5.11-group-features")
def test_group_features(sw: Bed) -> None:
    features = sw.c.request(msg.OFPGroupFeaturesStatsRequest(DP, 0)).body
    assert features.types & 0xF == 0xF
    assert min(features.max_groups) > 0


def _meter(
    meter_id: int, *bands: Any, command: int = of.OFPMC_ADD, flags: int = of.OFPMF_PKTPS | of.OFPMF_BURST
) -> Any:
    return msg.OFPMeterMod(
        DP, command, flags, meter_id, list(bands) or [msg.OFPMeterBandDrop(rate=1000, burst_size=500)]
    )


@clause("6.6-add-exists", "6.6-modify-unknown")
def test_meters_are_added_once_and_then_modified(sw: Bed) -> None:
    sw.install(_meter(1))
    assert sw.c.error(_meter(1)) == (METER, of.OFPMMFC_METER_EXISTS)
    sw.install(_meter(1, msg.OFPMeterBandDrop(rate=7, burst_size=3), command=of.OFPMC_MODIFY))
    (config,) = sw.c.request(msg.OFPMeterConfigStatsRequest(DP, 0, 1)).body
    assert [(b.rate, b.burst_size) for b in config.bands] == [(7, 3)]
    assert sw.c.error(_meter(2, command=of.OFPMC_MODIFY)) == (METER, of.OFPMMFC_UNKNOWN_METER)


@clause("6.6-delete")
def test_a_deleted_meter_takes_its_entries_along(sw: Bed) -> None:
    sw.install(_meter(1), _meter(2))
    for n in (1, 2):
        sw.install(flow({"in_port": n}, instructions=[msg.OFPInstructionMeter(n), apply(output(3))], cookie=n))
    sw.install(_meter(1, command=of.OFPMC_DELETE))
    assert [e.cookie for e in sw.flow_stats()] == [2]
    sw.install(_meter(1, command=of.OFPMC_DELETE), _meter(of.OFPM_ALL, command=of.OFPMC_DELETE))
    assert sw.flow_stats() == []
    assert sw.c.request(msg.OFPMeterConfigStatsRequest(DP, 0, of.OFPM_ALL)).body == []


@clause("6.6-unknown-target")
def test_no_entry_leads_to_a_meter_that_is_not_there(sw: Bed) -> None:
    assert sw.c.error(flow({}, instructions=[msg.OFPInstructionMeter(9)])) is not None


@clause("6.6-add-exists")
@pytest.mark.parametrize("meter_id", [0, 0xFFFF0001], ids=["zero", "above"])
def test_a_meter_of_an_impossible_number_is_refused(sw: Bed, meter_id: int) -> None:
    assert sw.c.error(_meter(meter_id)) == (METER, of.OFPMMFC_INVALID_METER)


@clause("7.3.5.12-meter", "5.8-required")
def test_meters_are_counted(sw: Bed) -> None:
    sw.install(
        _meter(1, msg.OFPMeterBandDrop(rate=1, burst_size=1), flags=of.OFPMF_PKTPS | of.OFPMF_BURST | of.OFPMF_STATS),
        flow({"in_port": 1}, instructions=[msg.OFPInstructionMeter(1), apply(output(2))]),
    )
    passed = sw.exchange(1, *[UDP4] * 30).out.get(2, 0)
    sw.switch.settle()
    (stats,) = sw.c.request(msg.OFPMeterStatsRequest(DP, 0, 1)).body
    assert (stats.flow_count, stats.packet_in_count, stats.byte_in_count) == (1, 30, 30 * len(UDP4))
    assert stats.band_stats[0].packet_band_count == 30 - passed > 0


@clause("7.3.5.12-meter")
def test_meter_features(sw: Bed) -> None:
    (features,) = sw.c.request(msg.OFPMeterFeaturesStatsRequest(DP, 0)).body
    assert features.max_meter > 0
    assert features.band_types & (1 << of.OFPMBT_DROP)
