"""How the controller speaks to a broker: one module per protocol, found by the flavour's `protocol`.

A module has a function ``make(settings, handler) -> Protocol``. It is imported only when it is the one that is used.
Neighbours: :mod:`tephra.silos.runtime` drives it; :mod:`.mqtt` is the first.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any, NamedTuple
from typing import Protocol as Interface

from tephra.bus.messages import AttachedThing, Command, Unicast
from tephra.silos.config import ConfigError, Settings

MODULES = {"mqtt": "tephra.silos.protocols.mqtt"}
"""Module of each protocol a Flavour may name."""


class Answer(NamedTuple):
    """What a ThingVisor says of one command: a status or the result, one JSON value."""

    kind: Unicast
    entity: str
    id: str
    name: str
    payload: bytes


class InvalidCommand(ValueError):
    """A tenant's command that cannot be understood; the message says where, why and what to send instead."""


class BrokerError(Exception):
    """The tenant's broker refused something; the message names what and why."""


class Handler(NamedTuple):
    """What a protocol calls."""

    command: Callable[[AttachedThing, Command], Awaitable[None]]
    """A tenant sent a command; returns when the core bus has it, or has refused it for good. ConnectionLost."""
    refused: Callable[[str], None]
    """A tenant's command could not be understood: why."""
    connected: Callable[[], None]
    """The broker is reached, for the first time or again: what it held may be gone."""
    disconnected: Callable[[], None]
    """The broker is not reached: :attr:`Protocol.not_ready` says why."""


class Protocol(Interface):
    """A connection to the tenant's broker. It reconnects by itself and sends again what was not acknowledged."""

    @property
    def not_ready(self) -> str:
        """Why the broker is not connected; empty while it is."""
        ...

    async def start(self) -> None:
        """Begin to connect; returns at once."""
        ...

    async def stop(self) -> None:
        """Hand over what is under way (bounded) and disconnect."""
        ...

    async def configure(self, params: dict[str, Any]) -> bool:
        """Take the VSilo's params; True when what was delivered so far has to be delivered again. BrokerError."""
        ...

    def deliver(self, thing: AttachedThing, entity: str, payload: bytes) -> "asyncio.Future[None]":
        """Write one entity (NGSI-LD JSON; empty: deleted); done when the broker has acknowledged it. The hot path."""
        ...

    async def attached(self, thing: AttachedThing) -> None:
        """The thing is served from now on: open its command path. Called again when its grants change. BrokerError."""
        ...

    async def detached(self, thing: AttachedThing) -> None:
        """The thing is not served any more: close its command path, remove its last values."""
        ...

    async def sweep(self) -> None:
        """Remove what the broker still holds of things that are not attached: detached while we could not tell it."""
        ...

    def answer(self, thing: AttachedThing, answer: Answer) -> "asyncio.Future[None]":
        """Hand a command's status or result to the tenant; done when the broker has acknowledged it."""
        ...


def make(settings: Settings, handler: Handler) -> Protocol:
    """The protocol that the flavour names."""
    if settings.protocol not in MODULES:
        raise ConfigError(f"TEPHRA_PROTOCOL={settings.protocol!r} is not one of {', '.join(MODULES)}; mend the Flavour")
    protocol: Protocol = import_module(MODULES[settings.protocol]).make(settings, handler)
    return protocol
