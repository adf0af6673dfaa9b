"""User properties as bytes: the same as paho writes and reads them."""

from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tephra.bus.properties import encode_varint, pack_user, read_user, read_varint

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300)


def section(packed: bytes) -> bytes:
    """A property section without its length prefix."""
    length, start = read_varint(packed, 0)
    assert len(packed) == start + length
    return packed[start:]


@given(st.dictionaries(texts, texts, max_size=6))
def test_packed_as_paho_packs_and_read_back(properties: dict[str, str]) -> None:
    theirs = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if properties:
        theirs.UserProperty = list(properties.items())
    packed = pack_user(properties).pack()
    assert packed == theirs.pack()  # type: ignore[no-untyped-call]
    assert read_user(section(packed)) == properties


@given(st.dictionaries(texts, texts, max_size=3), texts, st.binary(max_size=40), st.integers(1, 268_435_455))
def test_other_properties_are_skipped(user: dict[str, str], text: str, raw: bytes, number: int) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.PayloadFormatIndicator = 1
    properties.MessageExpiryInterval = 60
    properties.ContentType = text
    properties.ResponseTopic = text
    properties.CorrelationData = raw
    properties.SubscriptionIdentifier = number
    properties.TopicAlias = 5
    if user:
        properties.UserProperty = list(user.items())
    assert read_user(section(properties.pack())) == user  # type: ignore[no-untyped-call]


@given(st.integers(0, 268_435_455))
def test_variable_byte_integers(value: int) -> None:
    assert read_varint(encode_varint(value), 0) == (value, len(encode_varint(value)))
