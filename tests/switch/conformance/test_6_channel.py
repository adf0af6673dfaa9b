"""Sections 6.1 to 6.3: messages, barriers, connections, controllers and their roles."""

import contextlib
import json
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, delete, flow, output, packet_out, write
from .clauses import clause
from .controller import DP, Controller, Silence, accept, listen
from .frames import PLAIN, UDP4, UDP6

SWAPS = 200


@contextlib.contextmanager
def _connection(sw: Bed) -> Iterator[Controller]:
    """Another connection, before its hellos."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(sw.switch.listens))
        yield Controller(connection)


def _hello(version: int, *bitmaps: int) -> bytes:
    element = struct.pack("!HH", of.OFPHET_VERSIONBITMAP, 4 + 4 * len(bitmaps)) + b"".join(
        b.to_bytes(4, "big") for b in bitmaps
    )
    body = element + bytes(-len(element) % 8) if bitmaps else b""
    return struct.pack("!BBHI", version, of.OFPT_HELLO, 8 + len(body), 1) + body


@clause("6.2-barrier")
def test_the_packet_behind_a_barrier_meets_the_change(sw: Bed) -> None:
    for n in range(SWAPS):
        sw.c.transact(flow({"in_port": 1}, [output(2 + n % 3)]))
        assert sw.exchange(1, UDP4).out == {2 + n % 3: 1}


@clause("6.2-barrier")
def test_the_packet_behind_a_barrier_meets_no_deleted_entry(sw: Bed) -> None:
    for _ in range(SWAPS // 2):
        sw.c.transact(flow({"in_port": 1}, [output(2)]))
        assert sw.exchange(1, UDP4).out == {2: 1}
        sw.c.transact(delete({"in_port": 1}))
        assert sw.exchange(1, UDP4).out == {}


@clause("6.2-ordered-out", "6.2-barrier")
def test_a_packet_out_behind_a_flow_meets_it(sw: Bed) -> None:
    for n in range(SWAPS // 4):
        sw.c.send(flow({"in_port": 1}, [output(2 + n % 3)]))
        sw.c.transact()
        sw.c.send(packet_out(PLAIN, [output(of.OFPP_TABLE)], in_port=1))
        assert sw.await_frame(2 + n % 3) == PLAIN


@clause("6.2-processed", "6.2-all-or-nothing")
def test_a_refused_message_changes_nothing(sw: Bed) -> None:
    sw.install(flow({"in_port": 1}, [output(2)]))
    for refused in (
        flow({"in_port": 1}, [output(3), output(0xFFFFFF05)]),
        flow({"in_port": 1}, instructions=[write(output(3)), msg.OFPInstructionGotoTable(0)]),
        flow({"in_port": 1}, [output(3)], command=77),
    ):
        assert sw.c.error(refused) is not None
    assert sw.exchange(1, UDP4).out == {2: 1}
    assert len(sw.flow_stats()) == 1


@clause("6.2-processed")
def test_a_thousand_messages_without_a_pause_are_all_processed(sw: Bed) -> None:
    sw.install(*(flow({"eth_dst": f"02:00:00:01:{n >> 8:02x}:{n & 255:02x}"}, [output(2)]) for n in range(1000)))
    assert len(sw.flow_stats()) == 1000


@clause("6.3.1-hello", "6.3.1-listens")
@pytest.mark.parametrize(
    "hello", [_hello(4), _hello(6), _hello(6, 1 << 4 | 1 << 1), _hello(1, 1 << 4), _hello(4, 1 << 4, 1)], ids=str
)
def test_versions_are_agreed_on(sw: Bed, hello: bytes) -> None:
    with _connection(sw) as c:
        greeting = c.receive()
        assert (greeting.msg_type, greeting.version) == (of.OFPT_HELLO, of.OFP_VERSION)
        c.send(hello)
        assert c.request(msg.OFPEchoRequest(DP, b"hi")).data == b"hi"


@clause("6.3.1-incompatible")
@pytest.mark.parametrize("hello", [_hello(1), _hello(3), _hello(6, 1 << 6 | 1 << 1)], ids=["1.0", "1.2", "bitmap"])
def test_without_a_common_version_the_connection_ends(sw: Bed, hello: bytes) -> None:
    with _connection(sw) as c:
        c.receive()
        c.send(hello)
        error = c.raw()
        assert error[1] == of.OFPT_ERROR
        assert struct.unpack_from("!HH", error, 8) == (of.OFPET_HELLO_FAILED, of.OFPHFC_INCOMPATIBLE)
        with pytest.raises(Silence, match="closed"):
            c.raw()


@clause("6.3.2-fail-secure")
def test_a_lost_connection_leaves_the_entries(sw: Bed) -> None:
    with _connection(sw) as c:
        c.hello()
        c.transact(flow({"in_port": 1}, [output(2)]))
    sw.install()
    assert sw.exchange(1, UDP4).out == {2: 1}


@clause("6.3.4-equal", "6.3.4-query", "6.3.4-all-get-events")
def test_controllers_start_as_equals_and_all_get_events(sw: Bed) -> None:
    role = sw.c.request(msg.OFPRoleRequest(DP, of.OFPCR_ROLE_NOCHANGE, 0))
    assert role.role == of.OFPCR_ROLE_EQUAL
    sw.others[0].transact(flow({"in_port": 1}, [output(of.OFPP_CONTROLLER)], cookie=4, flags=of.OFPFF_SEND_FLOW_REM))
    sw.install()
    sw.exchange(1, UDP4)
    sw.install(delete({"in_port": 1}))
    for c in (sw.c, *sw.others):
        assert [e.cookie for e in c.events(of.OFPT_FLOW_REMOVED)] == [4]
    for c in sw.others:
        assert UDP4 in [e.data for e in c.events(of.OFPT_PACKET_IN)]


@clause("6.3.4-answers-own", "7.1-xid")
def test_answers_go_to_who_asked(sw: Bed) -> None:
    asked = [c.send(msg.OFPFeaturesRequest(DP)) for c in (sw.c, *sw.others)]
    for c, xid in zip((sw.c, *sw.others), asked, strict=True):
        c.transact()
        assert [m.xid for m in c.waiting if m.msg_type == of.OFPT_FEATURES_REPLY] == [xid]


def _role(c: Controller, role: int, generation: int = 0) -> Any:
    return c.request(msg.OFPRoleRequest(DP, role, generation))


@pytest.fixture
def roles(sw: Bed) -> Iterator[tuple[Bed, int]]:
    """The bed, and a generation id that is newer than any before; everybody is EQUAL again afterwards."""
    reply = sw.c.request(msg.OFPRoleRequest(DP, of.OFPCR_ROLE_NOCHANGE, 0))
    none_yet = reply.generation_id == 0xFFFFFFFFFFFFFFFF
    yield sw, 1 if none_yet else (reply.generation_id + 1) % 2**64
    for c in (sw.c, *sw.others):
        c.transact(msg.OFPRoleRequest(DP, of.OFPCR_ROLE_EQUAL, 0))


@clause("6.3.4-master", "6.3.4-query")
def test_a_new_master_makes_the_old_one_a_slave(roles: tuple[Bed, int]) -> None:
    sw, generation = roles
    assert _role(sw.c, of.OFPCR_ROLE_MASTER, generation).role == of.OFPCR_ROLE_MASTER
    assert _role(sw.others[0], of.OFPCR_ROLE_MASTER, generation).generation_id == generation
    assert _role(sw.c, of.OFPCR_ROLE_NOCHANGE).role == of.OFPCR_ROLE_SLAVE
    assert _role(sw.others[0], of.OFPCR_ROLE_NOCHANGE).role == of.OFPCR_ROLE_MASTER
    assert _role(sw.others[1], of.OFPCR_ROLE_NOCHANGE).role == of.OFPCR_ROLE_EQUAL


@clause("6.3.4-slave")
def test_a_slave_only_reads(roles: tuple[Bed, int]) -> None:
    sw, generation = roles
    slave = sw.others[0]
    _role(slave, of.OFPCR_ROLE_SLAVE, generation)
    refused = (of.OFPET_BAD_REQUEST, of.OFPBRC_IS_SLAVE)
    changes = [
        flow({}, [output(2)]),
        packet_out(PLAIN, [output(2)]),
        msg.OFPGroupMod(DP, of.OFPGC_ADD, of.OFPGT_ALL, 1, []),
        msg.OFPMeterMod(DP, of.OFPMC_ADD, of.OFPMF_PKTPS, 1, [msg.OFPMeterBandDrop(rate=1)]),
        msg.OFPPortMod(DP, 1, "00:00:00:00:00:00", 0, 0, 0),
        msg.OFPTableMod(DP, 0, 0),
    ]
    assert [slave.error(change) for change in changes] == [refused] * len(changes)
    assert slave.request(msg.OFPDescStatsRequest(DP, 0)).body
    assert sw.exchange(1, UDP4).out == {}


@clause("6.3.4-slave")
def test_a_slave_gets_port_status_only(roles: tuple[Bed, int]) -> None:
    sw, generation = roles
    slave = sw.others[0]
    _role(slave, of.OFPCR_ROLE_SLAVE, generation)
    sw.install(flow({"in_port": 1}, [output(of.OFPP_CONTROLLER)], flags=of.OFPFF_SEND_FLOW_REM))
    slave.events(of.OFPT_PACKET_IN)
    assert sw.exchange(1, UDP4, UDP6).packet_ins
    sw.install(delete({"in_port": 1}))
    sw.net.link(3, up=False)
    sw.net.link(3, up=True)
    assert slave.await_event(of.OFPT_PORT_STATUS).desc.port_no == 3
    assert slave.events(of.OFPT_PACKET_IN) + slave.events(of.OFPT_FLOW_REMOVED) == []


@clause("6.3.4-slave")
def test_a_slave_does_not_set_table_features(roles: tuple[Bed, int]) -> None:
    sw, generation = roles
    features = struct.pack("!HB5x32sQQII", 64, 0, b"", 0, 0, 0, 1)
    request = struct.pack("!BBHIHH4x", 4, of.OFPT_MULTIPART_REQUEST, 80, 7, of.OFPMP_TABLE_FEATURES, 0) + features
    _role(sw.others[0], of.OFPCR_ROLE_SLAVE, generation)
    refused = (of.OFPET_BAD_REQUEST, of.OFPBRC_IS_SLAVE)
    assert sw.others[0].error(request) == refused
    assert sw.others[0].request(msg.OFPTableFeaturesStatsRequest(DP, 0, [])).body


@clause("6.3.4-generation-told")
def test_every_role_reply_tells_the_generation(roles: tuple[Bed, int]) -> None:
    sw, generation = roles
    _role(sw.c, of.OFPCR_ROLE_MASTER, generation)
    for role in (of.OFPCR_ROLE_NOCHANGE, of.OFPCR_ROLE_EQUAL):
        assert _role(sw.others[0], role).generation_id == generation


@clause("6.3.4-role-stays")
def test_a_master_that_goes_leaves_the_others_roles(roles: tuple[Bed, int]) -> None:
    sw, generation = roles
    with _connection(sw) as master:
        master.hello()
        _role(master, of.OFPCR_ROLE_MASTER, generation)
        _role(sw.others[0], of.OFPCR_ROLE_SLAVE, generation)
        master.send(b"\x04\x12\x00\x04" + bytes(4))  # a length that ends the connection, and tells when it has ended
        with pytest.raises(Silence, match="closed"):
            _ = list(iter(master.raw, b""))
    assert _role(sw.others[0], of.OFPCR_ROLE_NOCHANGE).role == of.OFPCR_ROLE_SLAVE
    assert _role(sw.c, of.OFPCR_ROLE_NOCHANGE).role == of.OFPCR_ROLE_EQUAL


@clause("6.3.4-generation")
def test_an_older_generation_is_stale(roles: tuple[Bed, int]) -> None:
    sw, generation = roles
    stale = (of.OFPET_ROLE_REQUEST_FAILED, of.OFPRRFC_STALE)
    _role(sw.c, of.OFPCR_ROLE_MASTER, generation)
    older = msg.OFPRoleRequest(DP, of.OFPCR_ROLE_MASTER, (generation - 1) % 2**64)
    assert sw.others[0].error(older) == stale
    slave = msg.OFPRoleRequest(DP, of.OFPCR_ROLE_SLAVE, (generation - 1) % 2**64)
    assert sw.others[0].error(slave) == stale
    assert _role(sw.others[0], of.OFPCR_ROLE_EQUAL, 0).role == of.OFPCR_ROLE_EQUAL  # has no generation
    assert _role(sw.others[0], of.OFPCR_ROLE_MASTER, generation).role == of.OFPCR_ROLE_MASTER


@clause("6.3.4-generation")
def test_generations_wrap_around(roles: tuple[Bed, int]) -> None:
    sw, generation = roles
    half = (generation + 2**63 - 1) % 2**64  # as far ahead as counts as newer
    _role(sw.c, of.OFPCR_ROLE_MASTER, half)
    _role(sw.c, of.OFPCR_ROLE_MASTER, (half + 2**62) % 2**64)
    assert sw.c.error(msg.OFPRoleRequest(DP, of.OFPCR_ROLE_MASTER, half)) is not None


@clause("6.3.4-query")
def test_an_unknown_role_is_refused(sw: Bed) -> None:
    error = sw.c.error(msg.OFPRoleRequest(DP, 9, 0))
    assert error == (of.OFPET_ROLE_REQUEST_FAILED, of.OFPRRFC_BAD_ROLE)


@contextlib.contextmanager
def _told_to_connect(sw: Bed, target: str) -> Iterator[None]:
    """Have the switch connect to another controller meanwhile, by its control socket."""

    def call(method: str) -> None:
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(sw.switch.home / "control"))
            control.sendall(json.dumps({"id": 1, "method": method, "params": {"target": target}}).encode() + b"\n")
            assert "result" in json.loads(control.makefile().readline())

    call("controller-add")
    try:
        yield
    finally:
        call("controller-remove")


def _ends(c: Controller) -> bool:
    """Whether the switch closes the connection, after whatever it still has to say."""
    try:
        while True:
            c.raw()
    except ConnectionError:
        return True
    except Silence as silence:
        return "closed" in str(silence)


@clause("6.3.5-auxiliary")
def test_an_auxiliary_connection_carries_packet_ins_and_ends_with_its_main_one(sw: Bed) -> None:
    path = sw.switch.home / "aux"
    with listen(path) as listener, _told_to_connect(sw, f"unix:{path},aux=1"):
        main = accept(listener)
        auxiliary = accept(listener)
        features = [c.request(msg.OFPFeaturesRequest(DP)) for c in (main, auxiliary)]
        assert [(f.datapath_id, f.auxiliary_id) for f in features] == [(0xAA, 0), (0xAA, 1)]
        sw.install(flow({"in_port": 1}, [output(of.OFPP_CONTROLLER)]))
        sw.exchange(1, UDP4)
        assert auxiliary.await_event(of.OFPT_PACKET_IN).data == UDP4
        assert main.events(of.OFPT_PACKET_IN) == []
        assert auxiliary.error(flow({"in_port": 2}, [output(3)])) is None
        main.socket.close()
        assert _ends(auxiliary)
        auxiliary.socket.close()
