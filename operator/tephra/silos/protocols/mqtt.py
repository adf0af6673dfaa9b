"""Flavour `mqtt`: the tenant's Mosquitto, reached over the pod's loopback.

Values go out as they come, one publication per entity; commands come back from the tenant's topics. What a topic looks
like is decided in :mod:`.mqtt_layout`; the runtime (:mod:`tephra.silos.runtime`) drives this through
:class:`tephra.silos.protocols.Protocol`.
"""

import asyncio
import contextlib
from typing import Any

from tephra.bus.client import BusClient, BusError, ConnectionLost, Delivery, Session
from tephra.bus.messages import AttachedThing
from tephra.silos.config import Settings
from tephra.silos.protocols import Answer, BrokerError, Handler, InvalidCommand
from tephra.silos.protocols.mqtt_layout import LAYOUTS, Layout, PerEntity, thing_of, thing_topic

_NEVER = 2
"""MQTT 5 retain handling (§3.8.3.1): a retained command is no command now."""
_RETRY = 0.05
"""Longest pause (s) between attempts to reach the broker: it is in our own pod, so asking often costs nothing."""


class MqttProtocol:
    """See :class:`tephra.silos.protocols.Protocol`."""

    def __init__(self, settings: Settings, handler: Handler) -> None:
        self._settings = settings
        self._handler = handler
        self._layout: Layout = PerEntity(settings.tenant)
        self._things: dict[str, AttachedThing] = {}
        """By the four levels of topic that name a thing."""
        self._topics: dict[tuple[str, str], str] = {}
        """Topic by thing id and entity: what the hot path looks up."""
        self._commands: set[asyncio.Task[None]] = set()
        self._client = BusClient(
            settings.broker_dir,
            Session(client_id=f"controller:{settings.silo}", manual_ack=True, last_delay=_RETRY),
            url=settings.broker_url,
            on_message=self._received,
            on_connect=self._connected,
            on_failure=lambda _error: handler.disconnected(),
        )

    @property
    def not_ready(self) -> str:
        return "" if self._client.connected.is_set() else f"the broker beside us: {self._client.last_error}"

    async def start(self) -> None:
        self._client.start()

    async def stop(self) -> None:
        await self._client.stop()

    async def configure(self, params: dict[str, Any]) -> bool:
        layout = LAYOUTS.get(name := params.get("topicLayout", "perEntity"))
        if layout is None:
            raise BrokerError(
                f"topicLayout {name!r} is not one of {', '.join(LAYOUTS)}; the last layout stays in force"
            )
        if isinstance(self._layout, layout):
            return False
        things = list(self._things.values())
        for thing in things:
            await self.detached(thing)
        self._layout = layout(self._settings.tenant)
        for thing in things:
            await self.attached(thing)
        return True

    def deliver(self, thing: AttachedThing, entity: str, payload: bytes) -> asyncio.Future[None]:
        key = thing.id, entity
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = self._layout.topic(thing, entity)
        layout = self._layout
        message = layout.payload(thing, payload)
        if not message and not layout.retain:
            return _nothing_to_write()
        return self._client.publish_nowait(topic, message, retain=layout.retain)

    async def attached(self, thing: AttachedThing) -> None:
        before = self._things.get(topic := thing_topic(self._settings.tenant, thing))
        self._things[topic] = thing
        try:
            if before and before.commands and not thing.commands:
                await self._client.unsubscribe(self._layout.command_filter(thing))
            await self._open(thing)
        except ConnectionLost:
            pass  # :meth:`_connected` will do it
        except BusError as error:
            raise BrokerError(str(error)) from error

    async def detached(self, thing: AttachedThing) -> None:
        self._things.pop(thing_topic(self._settings.tenant, thing), None)
        self._topics = {key: topic for key, topic in self._topics.items() if key[0] != thing.id}
        with contextlib.suppress(ConnectionLost):  # after a reconnection the runtime sweeps
            await self._client.unsubscribe(self._layout.command_filter(thing))
            await self._have_resent(self._layout.values_filter(thing))

    async def sweep(self) -> None:
        with contextlib.suppress(ConnectionLost):
            await self._have_resent(f"{self._settings.tenant}/+/+/+/+")

    def answer(self, thing: AttachedThing, answer: Answer) -> asyncio.Future[None]:
        out = self._layout.answer(thing, answer)
        return self._client.publish_nowait(out.topic, out.payload, retain=out.retain)

    async def _connected(self, session_present: bool) -> None:
        """Greets the broker: the command paths are in force before anything else flows."""
        for thing in list(self._things.values()):
            await self._open(thing)
        self._handler.connected()

    async def _open(self, thing: AttachedThing) -> None:
        if thing.commands:
            await self._client.subscribe(self._layout.command_filter(thing), retain_handling=_NEVER)

    async def _have_resent(self, values: str) -> None:
        """Have the broker send retained values once more; :meth:`_received` removes those not served.

        The broker queues them when it takes the subscription, so it can be given up at once.
        """
        await self._client.subscribe(values)
        await self._client.unsubscribe(values)

    def _received(self, delivery: Delivery) -> None:
        thing = self._things.get(thing_of(delivery.topic))
        if delivery.retain:
            if delivery.payload and not (thing and self._layout.retain):
                self._client.publish_nowait(delivery.topic, b"", retain=True)
        elif thing and thing.commands and self._layout.is_command(delivery.topic):
            task = asyncio.create_task(self._command(thing, delivery))
            self._commands.add(task)
            task.add_done_callback(self._commands.discard)
            return
        delivery.ack()

    async def _command(self, thing: AttachedThing, delivery: Delivery) -> None:
        """Acknowledged to the tenant's broker when the core bus has it, so that a killed controller loses none."""
        try:
            for command in self._layout.commands(thing, delivery.topic, delivery.payload):
                await self._handler.command(thing, command)
        except ConnectionLost:
            return  # we are stopping: the broker gives it to our successor
        except InvalidCommand as error:
            self._handler.refused(str(error))
        delivery.ack()


def make(settings: Settings, handler: Handler) -> MqttProtocol:
    """The entry that :func:`tephra.silos.protocols.make` calls."""
    return MqttProtocol(settings, handler)


def _nothing_to_write() -> asyncio.Future[None]:
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done
