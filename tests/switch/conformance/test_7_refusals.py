"""Sections 7.1, 7.2.3 to 7.2.5, 7.4.4: what is malformed or unsupported is refused, by the right type and code."""

import socket
import struct

import pytest
from os_ken.ofproto import ofproto_v1_3 as of  # type: ignore[import-untyped]
from os_ken.ofproto import ofproto_v1_3_parser as msg

from .bed import Bed, apply, flow, output
from .clauses import clause
from .controller import DP, Controller

XID = 0x5EED
MATCH, REQUEST = of.OFPET_BAD_MATCH, of.OFPET_BAD_REQUEST
INSTRUCTION, ACTION = of.OFPET_BAD_INSTRUCTION, of.OFPET_BAD_ACTION


def _message(kind: int, body: bytes = b"", *, version: int = 4, length: int | None = None) -> bytes:
    return struct.pack("!BBHI", version, kind, 8 + len(body) if length is None else length, XID) + body


def _match(oxms: bytes, kind: int = 1) -> bytes:
    """A match structure of encoded fields, padded."""
    return struct.pack("!HH", kind, 4 + len(oxms)) + oxms + bytes(-(4 + len(oxms)) % 8)


def _flow_mod(match: bytes = b"", instructions: bytes = b"") -> bytes:
    fixed = struct.pack(
        "!QQBBHHHIIIHxx", 0, 0, 0, of.OFPFC_ADD, 0, 0, 10, of.OFP_NO_BUFFER, of.OFPP_ANY, of.OFPG_ANY, 0
    )
    return _message(of.OFPT_FLOW_MOD, fixed + (match or _match(b"")) + instructions)


def _oxm(field: int, value: bytes, mask: bytes = b"", *, oxm_class: int = 0x8000) -> bytes:
    return struct.pack("!HBB", oxm_class, field << 1 | bool(mask), len(value + mask)) + value + mask


def _applied(action: bytes) -> bytes:
    return struct.pack("!HHxxxx", of.OFPIT_APPLY_ACTIONS, 8 + len(action)) + action


def _raw_error(sw: Bed, message: bytes) -> tuple[int, int]:
    """The error that raw bytes are refused with, checked against 7.4.4: xid and the beginning of the request."""
    sw.c.send(message)
    error = sw.c.await_event(of.OFPT_ERROR)
    assert error.xid == XID
    assert error.data[: min(64, len(message))] == message[:64]
    return error.type, error.code


@clause("7.1-version", "7.4.4-data")
def test_version(sw: Bed) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(sw.switch.listens))
        c = Controller(connection)
        c.hello()
        c.send(_message(of.OFPT_ECHO_REQUEST, version=1))
        error = c.await_event(of.OFPT_ERROR, 2.0)
        assert (error.type, error.code, error.xid) == (REQUEST, of.OFPBRC_BAD_VERSION, XID)


@clause("7.1-type", "7.4.4-data")
def test_type(sw: Bed) -> None:
    assert _raw_error(sw, _message(77)) == (REQUEST, of.OFPBRC_BAD_TYPE)


@clause("7.1-length", "7.4.4-data", "6.2-processed")
@pytest.mark.parametrize(
    "message",
    [
        _message(of.OFPT_FEATURES_REQUEST, bytes(8)),
        _message(of.OFPT_SET_CONFIG, bytes(2)),
        _message(of.OFPT_FLOW_MOD, bytes(24)),
        _message(of.OFPT_BARRIER_REQUEST, bytes(4)),
        _message(of.OFPT_ROLE_REQUEST, bytes(8)),
        _message(of.OFPT_PACKET_OUT, bytes(4)),
        _message(of.OFPT_MULTIPART_REQUEST, bytes(4)),
    ],
    ids=["features", "config", "flow-mod", "barrier", "role", "packet-out", "multipart"],
)
def test_length(sw: Bed, message: bytes) -> None:
    assert _raw_error(sw, message) == (REQUEST, of.OFPBRC_BAD_LEN)


@clause("7.2.3-type")
def test_match_type(sw: Bed) -> None:
    assert _raw_error(sw, _flow_mod(_match(b"", kind=0))) == (MATCH, of.OFPBMC_BAD_TYPE)


ETH_TYPE_IP, PROTO_TCP = _oxm(5, b"\x08\x00"), _oxm(10, b"\x06")


@clause("7.2.3.3-unknown", "7.2.3.3-length", "7.2.3.6-prerequisite", "7.2.3.6-duplicate", "7.2.3.5-masked-bits",
        "7.2.3.5-unmaskable", "7.2.3.7-value")  # fmt: skip
@pytest.mark.parametrize(
    ("oxms", "code"),
    [
        (_oxm(50, b"\0\0\0\0"), of.OFPBMC_BAD_FIELD),
        (_oxm(3, bytes(6), oxm_class=0x1234), of.OFPBMC_BAD_FIELD),
        (_oxm(3, bytes(5)), of.OFPBMC_BAD_LEN),
        (_oxm(3, bytes(6), bytes(5)), of.OFPBMC_BAD_LEN),
        (struct.pack("!HBB", 0x8000, 3 << 1, 6) + bytes(3), of.OFPBMC_BAD_LEN),
        (_oxm(12, bytes(4)), of.OFPBMC_BAD_PREREQ),
        (ETH_TYPE_IP + _oxm(14, bytes(2)), of.OFPBMC_BAD_PREREQ),
        (_oxm(5, b"\x08\x00", b"\xff\x00") + _oxm(12, bytes(4)), of.OFPBMC_BAD_PREREQ),
        (_oxm(7, b"\x03"), of.OFPBMC_BAD_PREREQ),
        (_oxm(6, b"\0\0") + _oxm(7, b"\x03"), of.OFPBMC_BAD_PREREQ),
        (PROTO_TCP + ETH_TYPE_IP, of.OFPBMC_BAD_PREREQ),
        (_oxm(3, bytes(6)) * 2, of.OFPBMC_DUP_FIELD),
        (_oxm(3, bytes(6)) + _oxm(3, bytes(6), b"\xff" * 6), of.OFPBMC_DUP_FIELD),
        (_oxm(3, b"\x01" * 6, b"\xfe" * 6), of.OFPBMC_BAD_WILDCARDS),
        (_oxm(0, b"\0\0\0\1", b"\xff\xff\xff\xfe"), of.OFPBMC_BAD_MASK),
        (_oxm(6, b"\x30\x05"), of.OFPBMC_BAD_VALUE),
        (_oxm(6, b"\x00\x05"), of.OFPBMC_BAD_VALUE),
        (ETH_TYPE_IP + _oxm(8, b"\x40"), of.OFPBMC_BAD_VALUE),
        (_oxm(5, b"\x88\x47") + _oxm(34, b"\x00\x10\x00\x00"), of.OFPBMC_BAD_VALUE),
    ],
    ids=[
        "field", "class", "short", "short mask", "cut", "no eth_type", "other proto", "masked prerequisite", "no vlan",
        "vlan none", "order", "twice", "twice masked", "value outside mask", "mask of a port", "vid bits", "vid absent",
        "dscp", "label",
    ],
)  # fmt: skip
def test_match_fields(sw: Bed, oxms: bytes, code: int) -> None:
    assert _raw_error(sw, _flow_mod(_match(oxms))) == (MATCH, code)


@clause("7.2.3.5-mask")
def test_a_mask_of_ones_is_none_and_a_mask_of_zeros_no_field(sw: Bed) -> None:
    ones = _oxm(3, b"\x02" * 6, b"\xff" * 6)
    zeros = _oxm(4, bytes(6), bytes(6))
    for match in (ones + zeros, ones, _oxm(3, b"\x02" * 6)):
        sw.c.send(_flow_mod(_match(match)))
    sw.c.transact()
    (entry,) = sw.flow_stats()
    assert dict(entry.match.items()) == {"eth_dst": "02:02:02:02:02:02"}


@clause("7.2.4-unknown", "7.2.4-length")
@pytest.mark.parametrize(
    ("instruction", "code"),
    [
        (struct.pack("!HHxxxx", 99, 8), of.OFPBIC_UNKNOWN_INST),
        (struct.pack("!HHB7x", of.OFPIT_GOTO_TABLE, 12, 1), of.OFPBIC_BAD_LEN),
        (struct.pack("!HHxxxx", of.OFPIT_GOTO_TABLE, 0), of.OFPBIC_BAD_LEN),
        (struct.pack("!HHxxxx", of.OFPIT_APPLY_ACTIONS, 64), of.OFPBIC_BAD_LEN),
    ],
    ids=["unknown", "goto of 12", "none", "past the end"],
)
def test_instructions(sw: Bed, instruction: bytes, code: int) -> None:
    assert _raw_error(sw, _flow_mod(b"", instruction)) == (INSTRUCTION, code)


@clause("7.2.4-unknown")
def test_an_unknown_experimenter_instruction(sw: Bed) -> None:
    instruction = struct.pack("!HHI8x", of.OFPIT_EXPERIMENTER, 16, 0x00ABCDEF)
    error = _raw_error(sw, _flow_mod(b"", instruction))
    assert error in ((INSTRUCTION, of.OFPBIC_BAD_EXPERIMENTER), (INSTRUCTION, of.OFPBIC_UNSUP_INST))


@clause("7.2.5-unknown", "7.2.5-length")
@pytest.mark.parametrize(
    ("action", "code"),
    [
        (struct.pack("!HHxxxx", 99, 8), of.OFPBAC_BAD_TYPE),
        (struct.pack("!HHIxxxxxxxx", 0xFFFF, 16, 0x00ABCDEF), of.OFPBAC_BAD_EXPERIMENTER),
        (struct.pack("!HHI", of.OFPAT_OUTPUT, 8, 1), of.OFPBAC_BAD_LEN),
        (struct.pack("!HHI", of.OFPAT_GROUP, 0, 1), of.OFPBAC_BAD_LEN),
        (struct.pack("!HHI", of.OFPAT_GROUP, 16, 1), of.OFPBAC_BAD_LEN),
    ],
    ids=["unknown", "experimenter", "output of 8", "none", "past the end"],
)
def test_actions(sw: Bed, action: bytes, code: int) -> None:
    assert _raw_error(sw, _flow_mod(b"", _applied(action))) == (ACTION, code)


@clause("7.2.5-out-port")
def test_an_output_to_a_reserved_number_that_means_nothing(sw: Bed) -> None:
    assert sw.c.error(flow({}, [output(0xFFFFFF05)])) == (ACTION, of.OFPBAC_BAD_OUT_PORT)


@clause("7.3.5-unknown")
def test_multipart(sw: Bed) -> None:
    request = _message(of.OFPT_MULTIPART_REQUEST, struct.pack("!HHxxxx", 99, 0))
    assert _raw_error(sw, request) == (REQUEST, of.OFPBRC_BAD_MULTIPART)


@clause("7.5.4-experimenter")
def test_experimenter(sw: Bed) -> None:
    request = _message(of.OFPT_EXPERIMENTER, struct.pack("!II", 0x00ABCDEF, 1))
    assert _raw_error(sw, request) == (REQUEST, of.OFPBRC_BAD_EXPERIMENTER)


@clause("6.2-processed")
def test_the_connection_outlives_what_it_refused(sw: Bed) -> None:
    for _ in range(20):
        _raw_error(sw, _flow_mod(_match(_oxm(50, b"\0"))))
    assert sw.c.error(flow({"in_port": 1}, instructions=[apply(output(2))])) is None
    assert sw.c.request(msg.OFPEchoRequest(DP, b"still here")).data == b"still here"
