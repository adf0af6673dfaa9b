"""Section 4: OpenFlow ports."""

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]

from .bed import Bed, flow, output, packet_out
from .clauses import clause
from .frames import PLAIN, UDP4

MISMATCH = (of.OFPET_BAD_ACTION, of.OFPBAC_BAD_OUT_PORT)


@clause("4.5-all")
def test_all_is_every_port_but_the_ingress(sw: Bed) -> None:
    sw.install(flow({"in_port": 2}, [output(of.OFPP_ALL)]))
    assert sw.exchange(2, UDP4).out == {1: 1, 3: 1, 4: 1}


@clause("4.5-all")
def test_all_of_a_packet_out_from_the_controller_is_every_port(sw: Bed) -> None:
    sw.install(packet_out(PLAIN, [output(of.OFPP_ALL)]))
    assert [sw.await_frame(n) for n in range(1, 5)] == [PLAIN] * 4


@clause("4.5-controller")
def test_controller_gets_a_packet_in(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(of.OFPP_CONTROLLER)], cookie=7))
    seen = sw.exchange(1, UDP4)
    assert seen.out == {}
    assert [(p.data, p.reason, p.match["in_port"]) for p in seen.packet_ins] == [(UDP4, of.OFPR_ACTION, 1)]


@clause("4.5-controller", "4.5-table")
def test_packet_out_from_the_controller_matches_its_ingress_port(sw: Bed) -> None:
    sw.install(flow({"in_port": of.OFPP_CONTROLLER}, [output(3)]), packet_out(PLAIN, [output(of.OFPP_TABLE)]))
    assert sw.await_frame(3) == PLAIN


@clause("4.5-table")
def test_table_submits_to_the_first_table(sw: Bed) -> None:
    sw.install(flow({"in_port": 4}, [output(2)]), packet_out(PLAIN, [output(of.OFPP_TABLE)], in_port=4))
    assert sw.await_frame(2) == PLAIN


@clause("4.5-table")
def test_table_is_refused_in_an_entry(sw: Bed) -> None:
    assert sw.c.error(flow({"in_port": 1}, [output(of.OFPP_TABLE)])) == MISMATCH


@clause("4.5-in-port")
def test_in_port_sends_back(sw: Bed) -> None:
    sw.install(flow({"in_port": 3}, [output(of.OFPP_IN_PORT)]))
    assert sw.exchange(3, UDP4).out == {3: 1}


@clause("4.5-in-port")
def test_output_to_the_ingress_port_by_number_does_nothing(sw: Bed) -> None:
    sw.install(flow({"in_port": 3}, [output(3), output(1)]))
    assert sw.exchange(3, UDP4).out == {1: 1}


@clause("4.5-any")
@pytest.mark.parametrize("port", [of.OFPP_ANY, 0], ids=["any", "zero"])
def test_no_output_to_what_is_no_port(sw: Bed, port: int) -> None:
    assert sw.c.error(flow({}, [output(port)])) == MISMATCH


@clause("4.5-any", "7.3.7-in-port", "4.5-all")
@pytest.mark.parametrize("port", [of.OFPP_ANY, of.OFPP_ALL, of.OFPP_TABLE, of.OFPP_IN_PORT, 0])
def test_no_packet_out_from_what_is_no_ingress_port(sw: Bed, port: int) -> None:
    error = sw.c.error(packet_out(PLAIN, [output(1)], in_port=port))
    assert error == (of.OFPET_BAD_REQUEST, of.OFPBRC_BAD_PORT)
