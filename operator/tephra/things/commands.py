"""Commands from silos: each is handed to the ThingVisor once, and its status and result go back to the one who asked.

The command object is VirIoT's (D3.1 §4.4): quality 0 wants no answer, 1 a result, 2 a stream of status and a result.
The topic names the silo, and the bus lets nobody write another's. Neighbour: :mod:`.runtime`.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from tephra.bus import topics
from tephra.bus.messages import COMMAND, ENTITY, KIND, NAME, THING, Command, Unicast
from tephra.things.outbound import Bus
from tephra.things.stats import Stats

log = logging.getLogger(__name__)

_REMEMBERED = 1000
"""Ids of commands, to know one that the bus delivers twice."""
_AT_ONCE = 200
"""Commands under way at the same time; more are refused."""


class CommandRefused(Exception):
    """The command cannot be done; the message goes to the tenant as ``{"error": message}``."""


class CommandCall:
    """One command for one entity."""

    def __init__(self, bus: Bus, tv: str, address: topics.ThingTopic, command: Command) -> None:
        self.thing = address.thing
        self.silo = address.silo
        """Bus identity of the silo that asks, ``<tenant namespace>.<name>``."""
        self.entity = command.entity
        self.name = command.name
        self.id = command.id
        self.value: Any = command.value
        self.qos = command.qos
        self._bus = bus
        self._topic = topics.silo_data_in(address.silo, tv)

    async def status(self, status: Any) -> None:
        """Tell how it goes (any JSON value); only sent when the caller wants to know (quality 2)."""
        if self.qos == 2:
            await self._send(Unicast.STATUS, status)

    async def result(self, result: Any) -> None:
        """The SDK sends what ``on_command`` returns; not to be called by authors."""
        if self.qos > 0:
            await self._send(Unicast.RESULT, result)

    async def _send(self, kind: Unicast, value: Any) -> None:
        user = {KIND: kind, THING: self.thing, ENTITY: self.entity, COMMAND: self.id, NAME: self.name}
        await self._bus.publish_nowait(self._topic, orjson.dumps(value), user=user)


class Commands:
    """Runs commands side by side, in the order they came as far as they do not wait."""

    def __init__(self, handle: Callable[[CommandCall], Awaitable[Any]], stats: Stats) -> None:
        self._handle = handle
        self._stats = stats
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    def take(self, call: CommandCall) -> None:
        """A command came."""
        key = call.silo, call.id
        if key in self._seen:
            return
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self._stats.commands_total += 1
        task = asyncio.create_task(self._run(call))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, call: CommandCall) -> None:
        try:
            await call.result(await self._outcome(call))
        except Exception as error:
            log.error("the answer to command %s of %s is lost: %s", call.name, call.silo, error)

    async def _outcome(self, call: CommandCall) -> Any:
        try:
            if len(self._running) > _AT_ONCE:
                raise CommandRefused(f"{_AT_ONCE} commands are under way already; try again later")
            return await self._handle(call)
        except CommandRefused as refusal:
            self._stats.commands_failed_total += 1
            return {"error": str(refusal)}
        except Exception as error:
            self._stats.commands_failed_total += 1
            log.exception("command %s on %s of thing %s failed", call.name, call.entity, call.thing)
            return {"error": f"the ThingVisor failed: {type(error).__name__}: {error}"}

    def close(self) -> None:
        for task in self._running:
            task.cancel()
