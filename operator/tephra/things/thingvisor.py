"""What the author of a ThingVisor writes, and the tools at hand. Neighbour: :mod:`.runtime` calls it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from tephra.bus.messages import Announcement
from tephra.things.commands import CommandCall, CommandRefused
from tephra.things.health import Health, Reason, SourceError

__all__ = ["Announcement", "Entity", "Host", "MakeError", "Params", "ThingVisor"]

Entity = Mapping[str, Any]
"""An NGSI-LD entity, normalized (ETSI GS CIM 009 §4.5.1), as plain JSON values; ``id`` and ``type`` are needed."""


class Params(BaseModel):
    """Base of a ThingVisor's parameters: camelCase in YAML, unknown ones refused.

    The JSON Schema in ``thingvisor.yaml`` is this model's: ``python3 -m <module> --schema`` prints it.
    """

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid")


class MakeError(Exception):
    """A declared vThing cannot be made; the message says why, for the person who declared it."""


class Host(Protocol):
    """What the runtime does for a ThingVisor."""

    health: Health
    announced: Mapping[str, Announcement]

    def announce(self, announcements: Iterable[Announcement], *, only: bool) -> None: ...
    async def withdraw(self, thing: str) -> None: ...
    async def send(self, thing: str, entity: str, payload: bytes) -> None: ...


class ThingVisor:
    """Subclass, write :meth:`start`, and call :func:`tephra.things.run`."""

    class Params(Params):
        """No parameters."""

    def __init__(self, host: Host, secret_dir: Path | None = None) -> None:
        self._host = host
        self._secret_dir = secret_dir
        self.health = host.health
        """Say how the source fares: ``self.health.failing(Reason.UNREACHABLE, "...")``, ``self.health.ok()``."""
        self.setup()

    # -- to be written by the author

    def setup(self) -> None:
        """Once, before anything else: the place for the first values of attributes."""

    async def start(self, params: Any) -> None:
        """Announce and publish; may run for ever. Cancelled and called again when params change.

        An exception is logged, shown as health, and ``start`` is called again with backoff.
        """

    async def on_params(self, params: Any) -> bool:
        """Take new params without a restart of :meth:`start`; return False (the default) to have it restarted."""
        return False

    async def on_command(self, call: CommandCall) -> Any:
        """Do a command that was announced; what is returned (a JSON value) is the result.

        Raise :class:`CommandRefused` with the reason when it cannot be done.
        """
        raise CommandRefused(f"{call.name} is announced but not implemented")

    async def make(self, thing: str, params: dict[str, Any]) -> Announcement:
        """Make a vThing that somebody declared (VThing with ``spec.params``); called again when its params change.

        Return how it is announced; raise :class:`MakeError` when it cannot be made.
        """
        raise MakeError("this ThingVisor makes no vThings from params; it announces what its source has")

    async def unmake(self, thing: str) -> None:
        """The declaration is gone; stop serving the thing. Withdrawing it is done by the SDK."""

    async def close(self) -> None:
        """The process ends."""

    # -- tools

    @property
    def announced(self) -> Mapping[str, Announcement]:
        """What is announced now, by thing; vThings made from declarations included."""
        return self._host.announced

    async def announce(
        self, thing: str, *, type: str = "", label: str = "", description: str = "", commands: Iterable[str] = ()
    ) -> None:
        """The vThing ``thing`` is served from now on; announcing it again changes what is said of it."""
        announcement = Announcement(
            thing=thing, type=type, label=label, description=description, commands=tuple(commands)
        )
        self._host.announce([announcement], only=False)

    async def serve(self, *announcements: Announcement) -> None:
        """Announce exactly these: what was announced before and is not among them is withdrawn."""
        self._host.announce(announcements, only=True)

    async def withdraw(self, thing: str) -> None:
        """The vThing is served no longer; its entities disappear from every silo."""
        await self._host.withdraw(thing)

    async def publish(self, thing: str, entities: Iterable[Entity]) -> None:
        """Publish the current state of some entities of a vThing; waits while the bus takes no more.

        Raises ValueError for an entity without ``id`` or ``type``.
        """
        for entity in entities:
            if not entity.get("id") or not entity.get("type"):
                raise ValueError(f"an entity of thing {thing!r} has no id or no type: {str(entity)[:200]}")
            await self._host.send(thing, entity["id"], orjson.dumps(entity))

    async def remove(self, thing: str, entity: str) -> None:
        """The entity with this id is gone."""
        await self._host.send(thing, entity, b"")

    def secret(self, key: str) -> str:
        """A key of the Secret in ``spec.secretRef``, as it is now; raises SourceError when it is not there."""
        path = self._secret_dir / key if self._secret_dir else None
        if path is None or not path.is_file() or not (text := path.read_text().strip()):
            raise SourceError(
                Reason.SECRET_MISSING, f"key {key!r} is missing; put it into the Secret that spec.secretRef names"
            )
        return text
