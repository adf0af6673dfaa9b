"""What travels on the control topics: desired state down, reports up, commands and repairs across (DESIGN §6).

Desired state is retained and carries the generation of the object it came from; the receiver reports the
generation it has put in force, so a lost message is repaired by the next one and nothing is ever "sent once".
JSON names are camelCase; unknown members are ignored on reading, so that two versions can talk.

Data messages are not here: their payload is one NGSI-LD entity as it is, and three MQTT 5 user properties
(:data:`SEQ`, :data:`EPOCH`, :data:`KIND`) order it. Neighbours: :mod:`.topics` says who sends which.
"""

from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

SEQ = "seq"
"""User property: number of the message in the stream of one vThing, from 1, without holes."""
EPOCH = "epoch"
"""User property: which life of the ThingVisor the stream belongs to (ms since 1970 at its start)."""
KIND = "kind"
"""User property on ``vSilo/<silo>/data_in/<tv>``: a :class:`Unicast` value."""
THING, ENTITY, COMMAND, NAME = "thing", "entity", "cmd", "name"
"""User properties of a unicast message: which thing and entity it is about; for answers also the command's id and name.

The payload of a status or a result is one JSON value. With the name in every answer, a restarted silo needs no memory
of the commands it sent.
"""


class Unicast(StrEnum):
    """What a ThingVisor says to one silo."""

    DATA = "data"
    """A repaired or last-value entity: SEQ, EPOCH, THING, ENTITY; the payload is the entity."""
    GONE = "gone"
    """The repair ring no longer holds what was asked: go on from SEQ."""
    STATUS = "status"
    RESULT = "result"


class InvalidMessage(ValueError):
    """A payload that is not the message its topic promises."""


class Message(BaseModel):
    """Base of every control message: frozen, camelCase JSON, unknown members ignored."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore")

    def encode(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json", by_alias=True, exclude_none=True))

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        try:
            return cls.model_validate(orjson.loads(payload))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise InvalidMessage(f"not a {cls.__name__}: {error}") from error


class DeclaredThing(Message):
    """A hand-written VThing that the ThingVisor is asked to make from its params (the pull case)."""

    thing: str
    revision: str = ""
    """Digest of ``params``; the announcement or failure that answers carries it back."""
    params: dict[str, Any] = {}


class ThingVisorDesired(Message):
    """``TV/<tv>/c_in``: the ThingVisor's spec as of ``generation``."""

    generation: int
    params: dict[str, Any] = {}
    v_things: tuple[DeclaredThing, ...] = ()


class Announcement(Message):
    """One vThing that the ThingVisor serves now."""

    thing: str
    type: str = ""
    label: str = ""
    description: str = ""
    commands: tuple[str, ...] = ()
    revision: str = ""
    """Of the :class:`DeclaredThing` that it was made from; empty for things that nobody declared."""


class MakeFailure(Message):
    """A declared thing that could not be made."""

    thing: str
    message: str
    revision: str = ""
    """Of the :class:`DeclaredThing` that failed."""


class Health(Message):
    """How the ThingVisor's source fares; ``reason`` is a CamelCase word of :class:`tephra.api.conditions.Reason`."""

    ok: bool = True
    reason: str = "Healthy"
    message: str = ""


class ThingVisorReport(Message):
    """``TV/<tv>/c_out``: what the ThingVisor serves, as of ``observed_generation`` of its spec."""

    observed_generation: int
    epoch: int
    v_things: tuple[Announcement, ...] = ()
    failures: tuple[MakeFailure, ...] = ()
    health: Health = Health()
    params_error: str = ""
    """Why the params of ``observed_generation`` were refused by the ThingVisor itself; the old ones stay in force."""

    @cached_property
    def by_thing(self) -> dict[str, Announcement]:
        """The announcements by thing; a report may hold thousands and is asked about each."""
        return {announcement.thing: announcement for announcement in self.v_things}


class AttachedThing(Message):
    """A vThing that the silo is to serve."""

    id: str
    """``namespace/thingVisor/thing`` as the tenant wrote it."""
    tv: str
    """Bus identity of its ThingVisor."""
    thing: str
    commands: bool = False


class SiloDesired(Message):
    """``vSilo/<silo>/c_in``: the vThings granted to the silo, as of ``generation`` of its spec.

    ``revision`` grows also when access changes without an edit of the VSilo (a hash of the content).
    """

    generation: int
    revision: str = ""
    params: dict[str, Any] = {}
    v_things: tuple[AttachedThing, ...] = ()


class AttachmentState(StrEnum):
    """State of one vThing at the silo."""

    ATTACHED = "Attached"
    """Subscribed on the bus; its data flows to the broker as it comes."""
    FAILED = "Failed"


class Attachment(Message):
    """What became of one vThing of :class:`SiloDesired`."""

    id: str
    state: AttachmentState
    message: str = ""


class SiloReport(Message):
    """``vSilo/<silo>/c_out``: what is in force at the silo."""

    observed_generation: int
    revision: str = ""
    epoch: int
    broker_ready: bool = False
    broker_message: str = ""
    credentials_epoch: int = 0
    v_things: tuple[Attachment, ...] = ()


class Command(Message):
    """``vThing/<tv>/<thing>/data_in/<silo>``: one command for one entity (VirIoT D3.1 §4.4 command object)."""

    entity: str
    name: str
    id: str
    value: Any = None
    qos: Literal[0, 1, 2] = 0
    """0: no answer; 1: a result; 2: a stream of status and a result."""


class RepairRequest(Message):
    """``vThing/<tv>/<thing>/repair/<silo>``: send again what I miss.

    ``first``..``last`` (inclusive) of ``epoch``; without ``first``, the last value of every entity.
    """

    epoch: int | None = None
    first: int | None = None
    last: int | None = None
