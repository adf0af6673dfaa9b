"""Topics, payloads and commands of flavour mqtt, and the controller's settings: pure."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tephra.bus.messages import AttachedThing, Command, Unicast
from tephra.silos.config import ConfigError, read
from tephra.silos.protocols import Answer, InvalidCommand
from tephra.silos.protocols.mqtt_layout import PerEntity, Seed, thing_of, thing_topic

THING = AttachedThing(id="things/counter/room 1/a", tv="things.counter", thing="room 1/a", commands=True)
TOPIC = "tenant-a/things/counter/room 1%2Fa"
ROOM = "urn:ngsi-ld:Room:1"


def test_per_entity_topics() -> None:
    layout = PerEntity("tenant-a")
    assert layout.topic(THING, ROOM) == f"{TOPIC}/Room:1"
    assert layout.topic(THING, "http://example.org/a+b") == f"{TOPIC}/http:%2F%2Fexample.org%2Fa%2Bb"
    assert layout.topic(THING, "urn:ngsi-ld:") == f"{TOPIC}/urn:ngsi-ld:"
    assert layout.values_filter(THING) == f"{TOPIC}/+"
    assert layout.payload(THING, b'{"id":1}') == b'{"id":1}'
    assert thing_of(f"{TOPIC}/Room:1/set/status") == TOPIC == thing_topic("tenant-a", THING)


def test_seed_topics() -> None:
    layout = Seed("tenant-a")
    assert layout.topic(THING, ROOM) == TOPIC == layout.values_filter(THING)
    neutral = json.loads(layout.payload(THING, b'{"id":"it\'s"}'))
    assert neutral == {"data": [{"id": "it's"}], "meta": {"vThingID": THING.id}}
    assert layout.payload(THING, b"") == b"", "a deleted entity has no neutral message"


@pytest.mark.parametrize(
    ("topic", "per_entity", "seed"),
    [
        (f"{TOPIC}/Room:1/set", True, False),
        (f"{TOPIC}/in", False, True),
        (f"{TOPIC}/Room:1", False, False),
        (f"{TOPIC}/Room:1/set/status", False, False),
    ],
)
def test_only_command_topics_are_commands(topic: str, per_entity: bool, seed: bool) -> None:
    assert PerEntity("tenant-a").is_command(topic) is per_entity
    assert Seed("tenant-a").is_command(topic) is seed


@pytest.mark.parametrize(
    ("payload", "value"), [(b"41", 41), (b'{"a":[1]}', {"a": [1]}), (b"on", "on"), (b'"on"', "on"), (b"", "")]
)
def test_a_bare_value_is_a_command_answered_in_full(payload: bytes, value: object) -> None:
    [command] = PerEntity("tenant-a").commands(THING, f"{TOPIC}/Room:1/set%2Fit", payload)
    assert (command.entity, command.name, command.value, command.qos) == (ROOM, "set/it", value, 2)
    assert command.id


def test_a_command_object_says_how_it_is_answered() -> None:
    payload = b'{"cmd-value":{"on":true},"cmd-qos":1,"cmd-id":"a7"}'
    [command] = PerEntity("tenant-a").commands(THING, f"{TOPIC}/Room:1/set", payload)
    assert command == Command(entity=ROOM, name="set", id="a7", value={"on": True}, qos=1)


def test_a_command_finds_the_entity_whose_value_was_published() -> None:
    layout = PerEntity("tenant-a")
    topic = layout.topic(THING, "https://example.org/1")
    assert layout.commands(THING, f"{topic}/set", b"1")[0].entity == "https://example.org/1"


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=20))
def test_every_entity_can_be_commanded(entity: str, name: str) -> None:
    layout = PerEntity("tenant-a")
    answer = layout.answer(THING, Answer(Unicast.STATUS, entity, "1", name, b"1"))
    [command] = layout.commands(THING, answer.topic.removesuffix("/status"), b"1")
    assert (command.entity, command.name) == (entity, name)
    assert answer.topic.count("/") == 6


def test_seed_commands() -> None:
    order = {"cmd-value": 1, "cmd-qos": 2, "cmd-id": 7, "cmd-nuri": "viriot://x"}
    entity = {"id": ROOM, "type": "Room", "commands": {"type": "Property", "value": ["set", "stop"]}}
    entity |= {"set": {"type": "Property", "value": order}, "temperature": {"type": "Property", "value": 20}}
    payload = json.dumps({"data": [entity], "meta": {"vSiloID": "x"}}).encode()
    assert Seed("tenant-a").commands(THING, f"{TOPIC}/in", payload) == [
        Command(entity=ROOM, name="set", id="7", value=1, qos=2)
    ]


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"{", "neutral format"),
        (b"[]", "neutral format"),
        (b'{"data":[1]}', "neutral format"),
        (b'{"data":[{"set":{"value":{"cmd-value":1}}}]}', "neutral format"),
        (b'{"data":[]}', "cmd-value"),
        (b'{"data":[{"id":"a","set":{"value":1}}]}', "cmd-value"),
        (b'{"data":[{"id":"a","set":{"value":{"cmd-value":1,"cmd-qos":3}}}]}', "cmd-qos is 3"),
    ],
)
def test_wrong_commands_are_refused_with_the_topic_and_the_cause(payload: bytes, why: str) -> None:
    with pytest.raises(InvalidCommand, match=why) as error:
        Seed("tenant-a").commands(THING, f"{TOPIC}/in", payload)
    assert f"{TOPIC}/in" in str(error.value)


def test_answers() -> None:
    answer = Answer(Unicast.RESULT, ROOM, "a7", "set", b'{"ok":true}')
    topic, payload, retain = PerEntity("tenant-a").answer(THING, answer)
    assert (topic, json.loads(payload), retain) == (
        f"{TOPIC}/Room:1/set/result",
        {"cmd-id": "a7", "cmd-result": {"ok": True}},
        False,
    )
    topic, payload, retain = Seed("tenant-a").answer(THING, answer)
    [entity] = json.loads(payload)["data"]
    assert (topic, retain) == (TOPIC, False)
    assert entity["id"] == ROOM
    assert entity["set-result"]["value"] == {"cmd-id": "a7", "cmd-result": {"ok": True}}


def test_settings() -> None:
    settings = read({"TEPHRA_IDENTITY": "tenant-a.home", "TEPHRA_PROTOCOL": "mqtt"})
    assert (settings.tenant, settings.broker_url, settings.health_port) == ("tenant-a", "mqtt://127.0.0.1:1883", 8080)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"TEPHRA_PROTOCOL": "mqtt"}, "TEPHRA_IDENTITY"),
        ({"TEPHRA_IDENTITY": "home", "TEPHRA_PROTOCOL": "mqtt"}, "'home'"),
        ({"TEPHRA_IDENTITY": "a.home"}, "TEPHRA_PROTOCOL"),
        ({"TEPHRA_IDENTITY": "a.home", "TEPHRA_PROTOCOL": "mqtt", "TEPHRA_HEALTH_PORT": "x"}, "TEPHRA_HEALTH_PORT"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read(environ)
