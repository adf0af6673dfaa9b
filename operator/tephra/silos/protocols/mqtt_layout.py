"""The tenant's side of flavour `mqtt`: topics, payloads and commands, without I/O (contracts §6).

``perEntity`` gives every entity its own retained topic; ``seed`` is VirIoT's: one topic per vThing, the neutral format
``{"data": [entity], "meta": {"vThingID": id}}``. Commands are VirIoT's command object (D3.1 §4.4: ``cmd-value``,
``cmd-qos``, ``cmd-id``) or, in ``perEntity``, the bare value. Neighbour: :mod:`.mqtt` does the I/O.
"""

import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import orjson

from tephra.bus.messages import AttachedThing, Command, Unicast
from tephra.formats.names import InvalidName, parse_thing_id, parse_topic_level, topic_level
from tephra.silos.protocols import Answer, InvalidCommand

_URN = "urn:ngsi-ld:"
_VALUE, _QOS, _ID = "cmd-value", "cmd-qos", "cmd-id"
_ANSWER = {Unicast.STATUS: "status", Unicast.RESULT: "result"}
_NOT_ATTRIBUTES = frozenset({"id", "type", "@context", "commands"})


class Out(NamedTuple):
    """One publication on the tenant's broker."""

    topic: str
    payload: bytes
    retain: bool


class Layout(Protocol):
    """One way of laying things out in topics; it does no I/O."""

    retain: bool

    def topic(self, thing: AttachedThing, entity: str) -> str:
        """Where an entity goes."""
        ...

    def payload(self, thing: AttachedThing, entity_json: bytes) -> bytes:
        """What is written there; empty: nothing is to be written unless values are retained."""
        ...

    def values_filter(self, thing: AttachedThing) -> str:
        """Topic filter of every value of a thing."""
        ...

    def command_filter(self, thing: AttachedThing) -> str:
        """Topic filter of every command to a thing."""
        ...

    def is_command(self, topic: str) -> bool:
        """Whether a topic below a thing is one for commands."""
        ...

    def commands(self, thing: AttachedThing, topic: str, payload: bytes) -> list[Command]:
        """The commands in one publication of the tenant; :class:`InvalidCommand`."""
        ...

    def answer(self, thing: AttachedThing, answer: Answer) -> Out:
        """How a status or result reaches the tenant."""
        ...


def thing_topic(tenant: str, thing: AttachedThing) -> str:
    """``<tenant>/<namespace>/<thingVisor>/<thing>``: four levels, whatever characters the thing's id holds."""
    namespace, thing_visor, name = parse_thing_id(thing.id)
    return f"{tenant}/{namespace}/{thing_visor}/{topic_level(name)}"


def thing_of(topic: str) -> str:
    """The four levels of any topic of ours that say which thing it is about."""
    return "/".join(topic.split("/", 4)[:4])


class PerEntity:
    """``<thing>/<entity without urn:ngsi-ld:>``, retained; commands one level below, answers two."""

    retain = True

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant
        self._entities: dict[str, str] = {}

    def topic(self, thing: AttachedThing, entity: str) -> str:
        topic = f"{thing_topic(self._tenant, thing)}/{topic_level(entity.removeprefix(_URN) or entity)}"
        self._entities[topic] = entity
        return topic

    def payload(self, thing: AttachedThing, entity_json: bytes) -> bytes:
        return entity_json

    def values_filter(self, thing: AttachedThing) -> str:
        return f"{thing_topic(self._tenant, thing)}/+"

    def command_filter(self, thing: AttachedThing) -> str:
        return f"{thing_topic(self._tenant, thing)}/+/+"

    def is_command(self, topic: str) -> bool:
        return topic.count("/") == 5

    def commands(self, thing: AttachedThing, topic: str, payload: bytes) -> list[Command]:
        entity_topic, level = topic.rsplit("/", 1)
        try:
            entity = self._entities.get(entity_topic) or _URN + parse_topic_level(entity_topic.rsplit("/", 1)[1])
            name = parse_topic_level(level)
        except InvalidName as error:
            raise InvalidCommand(f"topic {topic!r}: {error}; percent-encode as in the entity's own topic") from error
        return [_command(entity, name, _json_or_text(payload), topic)]

    def answer(self, thing: AttachedThing, answer: Answer) -> Out:
        kind = _ANSWER[answer.kind]
        topic = f"{self.topic(thing, answer.entity)}/{topic_level(answer.name)}/{kind}"
        return Out(topic, orjson.dumps(_answer_value(answer)), retain=False)


class Seed:
    """``<thing>``, not retained, VirIoT's neutral format; commands on ``<thing>/in``, answers beside the data."""

    retain = False

    def __init__(self, tenant: str) -> None:
        self._tenant = tenant

    def topic(self, thing: AttachedThing, entity: str) -> str:
        return thing_topic(self._tenant, thing)

    def payload(self, thing: AttachedThing, entity_json: bytes) -> bytes:
        if not entity_json:
            return b""
        return b'{"data":[%b],"meta":{"vThingID":%b}}' % (entity_json, orjson.dumps(thing.id))

    def values_filter(self, thing: AttachedThing) -> str:
        return thing_topic(self._tenant, thing)

    def command_filter(self, thing: AttachedThing) -> str:
        return f"{thing_topic(self._tenant, thing)}/in"

    def is_command(self, topic: str) -> bool:
        return topic.count("/") == 4 and topic.endswith("/in")

    def commands(self, thing: AttachedThing, topic: str, payload: bytes) -> list[Command]:
        try:
            entities = orjson.loads(payload)["data"]
            found = [
                _command(entity["id"], name, value, topic)
                for entity in entities
                for name, value in _command_attributes(entity)
            ]
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise InvalidCommand(
                f"topic {topic!r}: not VirIoT's neutral format ({error!r}); send "
                '{"data":[{"id":ENTITY,"type":TYPE,COMMAND:{"type":"Property","value":{"cmd-value":VALUE}}}]}'
            ) from error
        if not found:
            raise InvalidCommand(f'topic {topic!r}: no attribute has a value with the member "cmd-value"')
        return found

    def answer(self, thing: AttachedThing, answer: Answer) -> Out:
        name = f"{answer.name}-{_ANSWER[answer.kind]}"
        entity = {"id": answer.entity, name: {"type": "Property", "value": _answer_value(answer)}}
        return Out(thing_topic(self._tenant, thing), self.payload(thing, orjson.dumps(entity)), retain=False)


LAYOUTS: dict[str, type[PerEntity] | type[Seed]] = {"perEntity": PerEntity, "seed": Seed}
"""Values of the flavour's parameter `topicLayout`."""


def _json_or_text(payload: bytes) -> Any:
    """The JSON value, or the text as it is: ``mosquitto_pub -m on`` is a fair command."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload.decode(errors="replace")


def _command(entity: str, name: str, value: Any, topic: str) -> Command:
    """A command object, or a bare value, which is answered in full."""
    if not (isinstance(value, dict) and _VALUE in value):
        return Command(entity=entity, name=name, id=uuid.uuid4().hex, value=value, qos=2)
    qos, command_id = value.get(_QOS, 0), value.get(_ID) or uuid.uuid4().hex
    if qos not in (0, 1, 2):
        raise InvalidCommand(f"topic {topic!r}, command {name!r}: cmd-qos is {qos!r}, not 0, 1 or 2")
    return Command(entity=entity, name=name, id=str(command_id), value=value[_VALUE], qos=qos)


def _command_attributes(entity: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The attributes of a neutral entity that carry a command object."""
    for name, attribute in entity.items():
        if name in _NOT_ATTRIBUTES:
            continue
        value = attribute.get("value") if isinstance(attribute, dict) else None
        if isinstance(value, dict) and _VALUE in value:
            yield name, value


def _answer_value(answer: Answer) -> dict[str, Any]:
    """VirIoT's answer object: ``cmd-id`` and ``cmd-status`` or ``cmd-result``."""
    return {_ID: answer.id, f"cmd-{_ANSWER[answer.kind]}": _json_or_text(answer.payload)}
