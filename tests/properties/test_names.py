"""The name codec: reversible, injective, legal in every name space, bounded.

Exhaustive where small, Hypothesis over Unicode beyond.
"""

import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tephra.formats import names
from tephra.formats.names import InvalidName, ThingId

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")  # RFC 1123, as Kubernetes
ALPHABET = "ab0A-._%/é"
PREFIXED = [f"{prefix}{rest}" for prefix in ("x--", "b--") for rest in ("", "a", "-61", "-6", "me", "61")]
SMALL = ["".join(letters) for size in (1, 2, 3, 4) for letters in itertools.product(ALPHABET, repeat=size)] + PREFIXED
TEXT = st.text(st.characters(codec="utf-8"), min_size=1)
THINGS = TEXT.filter(lambda text: len(text.encode()) <= names.MAX_THING_BYTES)
OWNERS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
LEGAL = st.from_regex(SUBDOMAIN, fullmatch=True).filter(lambda text: len(text) <= names.MAX_THING_BYTES)


def legal(name: str) -> bool:
    return len(name) <= 253 and bool(SUBDOMAIN.fullmatch(name))


def test_small_alphabet_exhaustively() -> None:
    images = {thing: names.encode_thing(thing) for thing in SMALL}
    assert len(set(images.values())) == len(images), "two things share a name"
    assert [thing for thing, image in images.items() if not legal(image)] == []
    assert [thing for thing, image in images.items() if names.decode_thing(image) != thing] == []


def test_what_decodes_is_what_was_made_exhaustively() -> None:
    """Nothing but an image decodes, so two names never mean one thing."""
    for text in SMALL:
        try:
            thing = names.decode_thing(text)
        except InvalidName:
            continue
        assert names.encode_thing(thing) == text


def test_small_topic_levels_exhaustively() -> None:
    levels = {text: names.topic_level(text) for text in SMALL}
    assert len(set(levels.values())) == len(levels)
    assert all(names.parse_topic_level(level) == text for text, level in levels.items())


@given(OWNERS, THINGS)
@example("a" * 63, "é" * 56)
@example("a" * 63, "~" * 112)
@example("a", "x--61")
def test_vthing_name_round_trip(owner: str, thing: str) -> None:
    name = names.vthing_name(owner, thing)
    assert legal(name)
    assert names.parse_vthing_name(name) == (owner, thing)


@given(LEGAL)
def test_legal_things_keep_their_name(thing: str) -> None:
    expected = thing if not thing.startswith(("x--", "b--")) else names.encode_thing(thing)
    assert names.encode_thing(thing) == expected
    assert names.decode_thing(expected) == thing


@given(st.tuples(OWNERS, THINGS), st.tuples(OWNERS, THINGS))
def test_different_things_have_different_names(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (names.vthing_name(*one) == names.vthing_name(*other)) == (one == other)


@given(st.text(st.characters(codec="utf-8")) | st.from_regex(r"[xb]--[-a-z0-9]*", fullmatch=True))
def test_decoding_never_guesses(text: str) -> None:
    try:
        thing = names.decode_thing(text)
    except InvalidName:
        return
    assert names.encode_thing(thing) == text


@given(TEXT)
@example("\x00")
@example("%2F")
@example("a\x85b")
def test_topic_level_is_legal_and_reversible(text: str) -> None:
    level = names.topic_level(text)
    assert not set(level) & set("/+#\x00")
    assert level
    assert names.parse_topic_level(level) == text


@given(st.text(st.characters(codec="utf-8")) | st.from_regex(r"[%a-c0-9/]*", fullmatch=True))
def test_parsing_a_level_never_guesses(level: str) -> None:
    try:
        text = names.parse_topic_level(level)
    except InvalidName:
        return
    assert names.topic_level(text) == level


@given(OWNERS, OWNERS)
def test_bus_identity_round_trip(namespace: str, name: str) -> None:
    assert names.parse_bus_identity(names.bus_identity(namespace, name)) == (namespace, name)


@given(OWNERS, OWNERS, THINGS)
def test_thing_id_round_trip(namespace: str, owner: str, thing: str) -> None:
    found = names.parse_thing_id(f"{namespace}/{owner}/{thing}")
    assert found == ThingId(namespace, owner, thing)
    assert names.parse_thing_id(str(found)) == found
    assert names.parse_vthing_name(found.name) == (owner, thing)
    assert names.parse_bus_identity(found.bus_identity) == (namespace, owner)


@pytest.mark.parametrize(
    ("thing", "image"),
    [
        ("rome-temp", "rome-temp"),
        ("urn.a.b", "urn.a.b"),
        ("rome_temp", "x--rome-5ftemp"),
        ("Rome", "x---52ome"),
        ("é", "x---c3-a9"),
        ("x--a", "x--x-2d-2da"),
        ("~" * 112, "b--" + "pz7h47t6" * 22 + "pz7a"),
    ],
)
def test_known_images(thing: str, image: str) -> None:
    """Names are stored in clusters: they may not change from one release to the next."""
    assert names.encode_thing(thing) == image


@pytest.mark.parametrize(
    ("call", "cause"),
    [
        (lambda: names.encode_thing(""), "0 UTF-8 bytes"),
        (lambda: names.encode_thing("é" * 57), "114 UTF-8 bytes"),
        (lambda: names.decode_thing("x--Zz"), "canonical"),
        (lambda: names.decode_thing("x---ff"), "not the image"),
        (lambda: names.decode_thing("b--1"), "not the image"),
        (lambda: names.vthing_name("a.b", "c"), "RFC 1123 label"),
        (lambda: names.vthing_name("a" * 64, "c"), "at most 63"),
        (lambda: names.parse_vthing_name("weather"), "thingVisor.thing"),
        (lambda: names.parse_thing_id("a/b"), "namespace/thingVisor/thing"),
        (lambda: names.parse_thing_id("a//c"), "namespace/thingVisor/thing"),
        (lambda: names.bus_identity("a.b", "c"), "'a.b'"),
        (lambda: names.parse_bus_identity("a"), "RFC 1123 label"),
        (lambda: names.topic_level(""), "empty"),
        (lambda: names.parse_topic_level("a/b"), "'a/b'"),
        (lambda: names.parse_topic_level("%FF"), "not an encoded topic level"),
        (lambda: names.parse_topic_level("%2f"), "not an encoded topic level"),
    ],
)
def test_refusals_name_the_culprit(call: Callable[[], object], cause: str) -> None:
    with pytest.raises(InvalidName, match=re.escape(cause)):
        call()
