"""Sections 5.6 and 5.7: groups and meters at work. Their messages are in test_6_groups_and_meters.py."""

from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, apply, bucket, flow, group, output, set_field
from .clauses import clause
from .controller import DP
from .frames import DST, UDP4, over4

TO = msg.OFPActionGroup
AA = "02:00:00:00:00:aa"


def _marked(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", "")) + UDP4[6:]


@clause("5.6-all")
def test_all_executes_every_bucket_on_a_copy(sw: Bed) -> None:
    sw.install(
        group(of.OFPGT_ALL, 1, bucket(set_field(eth_dst=AA), output(2)), bucket(output(3)), bucket(output(4))),
        flow({"in_port": 1}, [TO(1)]),
    )
    assert sw.exchange(1, UDP4).frames == {1: [], 2: [_marked(AA)], 3: [UDP4], 4: [UDP4]}


@clause("5.6-all-ingress")
def test_all_leaves_out_the_ingress_port(sw: Bed) -> None:
    every = [bucket(output(n)) for n in range(1, 5)]
    sw.install(group(of.OFPGT_ALL, 1, *every), flow({}, [TO(1)]))
    assert sw.exchange(3, UDP4).out == {1: 1, 2: 1, 4: 1}
    sw.install(group(of.OFPGT_ALL, 1, *every, bucket(output(of.OFPP_IN_PORT)), command=of.OFPGC_MODIFY))
    assert sw.exchange(3, UDP4).out == {1: 1, 2: 1, 3: 1, 4: 1}


@clause("5.6-all", "5.11-copy")
def test_processing_goes_on_behind_a_group_of_a_list(sw: Bed) -> None:
    sw.install(
        group(of.OFPGT_ALL, 1, bucket(set_field(eth_dst=AA), output(2))), flow({"in_port": 1}, [TO(1), output(3)])
    )
    assert sw.exchange(1, UDP4).frames == {1: [], 2: [_marked(AA)], 3: [UDP4], 4: []}


@clause("5.6-indirect")
def test_indirect_executes_its_bucket(sw: Bed) -> None:
    sw.install(group(of.OFPGT_INDIRECT, 0, bucket(set_field(eth_dst=AA), output(2))), flow({"in_port": 1}, [TO(0)]))
    assert sw.exchange(1, UDP4).frames[2] == [_marked(AA)]


@clause("5.6-select")
@pytest.mark.parametrize("field", ["port", "mac"])
def test_select_spreads_flows_and_keeps_each(sw: Bed, field: str) -> None:
    sw.install(
        group(of.OFPGT_SELECT, 1, bucket(output(2), weight=1), bucket(output(3), weight=1)),
        flow({"in_port": 1}, [TO(1)]),
    )
    if field == "port":
        flows = [over4(17, src_port=1000 + n) for n in range(64)]
    else:
        flows = [UDP4[:6] + n.to_bytes(6, "big") + b"\x12\x34" + UDP4[14:] for n in range(2, 130, 2)]
    first, second = sw.exchange(1, *flows), sw.exchange(1, *flows)
    assert [set(first.frames[n]) for n in (2, 3)] == [set(second.frames[n]) for n in (2, 3)]
    assert min(first.out.get(2, 0), first.out.get(3, 0)) >= 16


@clause("5.6-select")
def test_select_goes_by_weight(sw: Bed) -> None:
    sw.install(
        group(
            of.OFPGT_SELECT, 1, bucket(output(2), weight=9), bucket(output(3), weight=1), bucket(output(4), weight=0)
        ),
        flow({"in_port": 1}, [TO(1)]),
    )
    out = sw.exchange(1, *(over4(17, src_port=1000 + n, ip={"src": f"10.0.{n % 7}.{n}"}) for n in range(100))).out
    assert 4 not in out
    assert out[2] > 4 * out[3] > 0


@clause("5.6-failover", "7.4.3-port-status")
def test_failover_takes_the_first_live_bucket(sw: Bed) -> None:
    sw.install(
        group(of.OFPGT_FF, 1, bucket(output(2), watch_port=2), bucket(output(3), watch_port=3)),
        flow({"in_port": 1}, [TO(1)]),
    )
    assert sw.exchange(1, UDP4).out == {2: 1}
    sw.net.link(2, up=False)
    try:
        _await_link(sw, 2, of.OFPPS_LINK_DOWN)
        sw.install()
        assert sw.exchange(1, UDP4, ports=(1, 3, 4)).out == {3: 1}
    finally:
        sw.net.link(2, up=True)
    _await_link(sw, 2, 0)
    sw.install()
    assert sw.exchange(1, UDP4).out == {2: 1}


def _await_link(sw: Bed, port: int, state: int) -> None:
    while True:
        event = sw.c.await_event(of.OFPT_PORT_STATUS)
        if event.desc.port_no == port and event.desc.state & of.OFPPS_LINK_DOWN == state:
            assert event.reason == of.OFPPR_MODIFY
            return


@clause("5.6-failover")
def test_failover_without_a_live_bucket_drops(sw: Bed) -> None:
    dead = bucket(output(2), watch_port=of.OFPP_ANY, watch_group=9)
    sw.install(group(of.OFPGT_FF, 9), group(of.OFPGT_FF, 1, dead), flow({"in_port": 1}, [TO(1)]))
    assert sw.exchange(1, UDP4).out == {}


@clause("5.6-failover")
def test_failover_watches_groups(sw: Bed) -> None:
    sw.install(
        group(of.OFPGT_FF, 9, bucket(output(2), watch_port=2)),
        group(of.OFPGT_FF, 1, bucket(TO(9), watch_group=9), bucket(output(3), watch_port=3)),
        flow({"in_port": 1}, [TO(1)]),
    )
    assert sw.exchange(1, UDP4).out == {2: 1}
    sw.install(group(of.OFPGT_FF, 9, command=of.OFPGC_MODIFY))
    assert sw.exchange(1, UDP4).out == {3: 1}


@clause("5.6-empty")
@pytest.mark.parametrize("kind", [of.OFPGT_ALL, of.OFPGT_SELECT, of.OFPGT_FF], ids=["all", "select", "failover"])
def test_without_buckets_it_drops(sw: Bed, kind: int) -> None:
    sw.install(group(kind, 1), flow({"in_port": 1}, [TO(1)]))
    assert sw.exchange(1, UDP4).out == {}


@clause("5.6-chain")
def test_groups_lead_to_groups(sw: Bed) -> None:
    sw.install(
        group(of.OFPGT_INDIRECT, 3, bucket(set_field(eth_dst=AA), output(2))),
        group(of.OFPGT_ALL, 2, bucket(TO(3)), bucket(output(3))),
        flow({"in_port": 1}, [TO(2)]),
    )
    assert sw.exchange(1, UDP4).frames == {1: [], 2: [_marked(AA)], 3: [UDP4], 4: []}


def _meter(
    *bands: Any, flags: int = of.OFPMF_PKTPS | of.OFPMF_BURST | of.OFPMF_STATS, command: int = of.OFPMC_ADD
) -> Any:
    return msg.OFPMeterMod(DP, command, flags, 1, list(bands))


METERED = [msg.OFPInstructionMeter(1), apply(output(2))]
FLOOD = 80  # fits any socket's buffer


@clause("5.7-meter", "5.7-drop", "5.9-order")
def test_a_drop_band_limits_the_rate(sw: Bed) -> None:
    sw.install(_meter(msg.OFPMeterBandDrop(rate=10, burst_size=10)), flow({"in_port": 1}, instructions=METERED))
    assert 8 <= sw.exchange(1, *[UDP4] * FLOOD).out[2] < FLOOD // 2


@clause("5.7-meter", "5.7-drop")
def test_kilobits_count_as_well(sw: Bed) -> None:
    big = UDP4 + bytes(1000)
    sw.install(
        _meter(msg.OFPMeterBandDrop(rate=100, burst_size=100), flags=of.OFPMF_KBPS | of.OFPMF_BURST),
        flow({"in_port": 1}, instructions=METERED),
    )
    assert 8 <= sw.exchange(1, *[big] * FLOOD).out[2] < FLOOD // 2


@clause("5.7-meter")
def test_a_meter_is_shared_by_its_entries(sw: Bed) -> None:
    sw.install(
        _meter(msg.OFPMeterBandDrop(rate=10, burst_size=10)),
        flow({"in_port": 1, "eth_dst": DST}, instructions=METERED),
        flow({"in_port": 1}, instructions=METERED, priority=1),
    )
    other = _marked(AA)
    assert sw.exchange(1, *[UDP4, other] * (FLOOD // 2)).out[2] < FLOOD // 2


@clause("5.7-below")
def test_below_its_bands_a_meter_changes_nothing(sw: Bed) -> None:
    sw.install(
        _meter(msg.OFPMeterBandDrop(rate=1000000, burst_size=1000000)), flow({"in_port": 1}, instructions=METERED)
    )
    packet = over4(17, ip={"tos": 10 << 2})
    assert sw.exchange(1, *[packet] * 20).frames[2] == [packet] * 20


@clause("5.7-remark")
def test_a_remark_band_raises_the_drop_precedence(sw: Bed) -> None:
    sw.install(
        _meter(msg.OFPMeterBandDscpRemark(rate=10, burst_size=10, prec_level=1)),
        flow({"in_port": 1}, instructions=METERED),
    )
    af11, af12 = (over4(17, ip={"tos": dscp << 2}) for dscp in (10, 12))
    out = sw.exchange(1, *[af11] * FLOOD).frames[2]
    assert len(out) == FLOOD
    assert set(out) == {af11, af12}
    assert out.count(af12) > FLOOD // 2


@clause("5.7-remark")
def test_what_has_no_dscp_is_not_remarked(sw: Bed) -> None:
    sw.install(
        _meter(msg.OFPMeterBandDscpRemark(rate=10, burst_size=10, prec_level=1)),
        flow({"in_port": 1}, instructions=METERED),
    )
    assert set(sw.exchange(1, *[UDP4] * FLOOD).frames[2]) == {UDP4}
