"""The bus as a program sees it: an MQTT 5 session that stays up, with acknowledged, pipelined publishing.

::

    async with BusClient(Path("/etc/tephra/bus"), Session(manual_ack=True)) as bus: ...

* **Nothing is given up silently.** :meth:`BusClient.publish` returns when the broker has acknowledged. What is not yet
  acknowledged when a connection breaks is sent again on the next one, in the order of the calls; what is published
  meanwhile waits behind it.
* **The greeting goes first.** ``on_connect(session_present)`` is awaited after every (re)connection, before any waiting
  message flows; what it publishes and subscribes goes out at once. If it raises, the connection is dropped and tried
  again with backoff (a role that is not yet in force heals this way).
* **Order.** One connection, one window, first in first out. The window honours the broker's receive maximum.
* **Credentials** may live in a directory of files (:meth:`Endpoint.read`): it is read before every connection, and a
  change makes the client reconnect with the new ones; the session and its unacknowledged messages live on.

Used by ThingVisors, silo controllers and the operator. Protocol and sockets: :mod:`.mqtt`.
"""

import asyncio
import contextlib
import logging
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple, Self

from paho.mqtt.subscribeoptions import SubscribeOptions

from tephra.bus.mqtt import Address, Delivery, LoopClient
from tephra.bus.properties import Packed, pack_user

__all__ = ["BusClient", "BusError", "ConnectionLost", "Delivery", "Endpoint", "NotAuthorized", "Session"]

log = logging.getLogger(__name__)

_FIRST_DELAY = 0.05
"""Seconds before the second attempt to connect."""
_REFUSED_DELAY = 0.4
"""Longest pause while nobody listens: to find that out costs nobody anything, and a restarted broker is met at once."""
_PROVEN = 5.0
"""Seconds after which a connection starts the backoff anew; two clients that steal one id from each other do not."""
_ANSWER = 5.0
"""Seconds to wait for CONNACK, SUBACK, and for the last acknowledgements at the end."""
_WATCH = 2.0
"""Seconds between looks at the credentials directory."""
_NOT_AUTHORIZED = 135

_greeting: ContextVar[object] = ContextVar("_greeting", default=None)
"""Which greeting the current task belongs to."""


class BusError(Exception):
    """The bus refused or could not do something; the message names it."""


class NotAuthorized(BusError):
    """Reason code 135: the role of this identity does not allow it."""


class ConnectionLost(BusError):
    """The connection broke, or the client was stopped, before the answer came."""


class Endpoint(NamedTuple):
    """Which broker, as whom."""

    url: str
    username: str | None = None
    password: str | None = None
    ca_file: str | None = None
    """PEM file that signs the broker's certificate (``mqtts``, ``wss``); None: the system's own."""
    ca_data: str | None = None
    """The same as text, for who does not have it in a file."""

    @classmethod
    def read(cls, directory: Path, url: str | None = None) -> Self:
        """From the files of a mounted Secret: ``url`` (unless given), ``username``, ``password``; ``ca.crt`` if any."""
        url = url or (directory / "url").read_text().strip()
        username, password = ((directory / name).read_text().strip() for name in ("username", "password"))
        authority = directory / "ca.crt"
        return cls(url, username, password, str(authority) if authority.exists() else None)


class Session(NamedTuple):
    """What is asked of the broker, and how much may be under way."""

    client_id: str | None = None
    """None: the user name."""
    clean_start: bool = False
    """Forget an earlier session at the first connection (never at a reconnection)."""
    expiry: int = 3600
    """Seconds that the broker keeps the session after the connection ended."""
    keepalive: int = 10
    manual_ack: bool = False
    """The receiver calls :meth:`Delivery.ack`; else every message is acknowledged after ``on_message`` returned."""
    receive_maximum: int = 1000
    """Unacknowledged messages that the broker may send us."""
    window: int = 1000
    """Unacknowledged messages that we send; the broker's own limit also holds."""
    high_water: int = 2000
    """Waiting messages above which :meth:`BusClient.writable` waits."""
    last_delay: float = 5.0
    """Longest pause (s) between attempts to connect: they double from 50 ms, with jitter; 0.4 s when nobody listens."""


_SESSION = Session()


class _Outgoing(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Packed | None
    done: asyncio.Future[None]


class BusClient:
    """One MQTT session. ``on_message`` is called on the loop for every message (hot path: be quick, do not block)."""

    def __init__(
        self,
        endpoint: Endpoint | Path,
        session: Session = _SESSION,
        *,
        url: str | None = None,
        on_message: Callable[[Delivery], None] | None = None,
        on_connect: Callable[[bool], Awaitable[None]] | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        self.on_message = on_message
        self.on_connect = on_connect
        self.on_failure = on_failure
        """Told why a connection could not be made, or why it ended."""
        self.connected = asyncio.Event()
        """Set while connected and greeted."""
        self.last_error = ""
        """Why there is no connection now; empty while there is one."""
        self._directory = endpoint if isinstance(endpoint, Path) else None
        self._url = url
        self._endpoint = Endpoint.read(endpoint, url) if isinstance(endpoint, Path) else endpoint
        self._session = session
        self._window = session.window
        self._first: deque[_Outgoing] = deque()
        self._waiting: deque[_Outgoing] = deque()
        self._in_flight: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._drained = asyncio.Event()
        self._drained.set()
        self._nudge = asyncio.Event()
        self._greeter: object = None
        self._stopping = False
        self._connack: asyncio.Future[tuple[int, str, bool]] | None = None
        self._closed: asyncio.Future[str] | None = None
        self._mqtt: LoopClient | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to connect, and keep connected until :meth:`stop`. Does not wait: see :attr:`connected`."""
        address = Address(self._endpoint.url)
        client_id = self._session.client_id or self._endpoint.username or ""
        self._mqtt = LoopClient(address, client_id, self._session.manual_ack, self)
        self._tasks = [asyncio.create_task(self._keep_connected()), asyncio.create_task(self._tick())]
        if self._directory:
            self._tasks.append(asyncio.create_task(self._watch(self._directory)))

    async def stop(self) -> None:
        """Wait (5 s at most) for the last acknowledgements, say goodbye, and close."""
        if self.connected.is_set() and (outstanding := self._outstanding()):
            await asyncio.wait(outstanding, timeout=_ANSWER)
        self._stopping = True
        if self._mqtt and self._closed and self.connected.is_set():
            self._mqtt.disconnect()
            await asyncio.wait([self._closed], timeout=1)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        _fail(self._outstanding(), ConnectionLost("the bus client was stopped"))
        self._waiting.clear()
        self._in_flight.clear()

    def _outstanding(self) -> list[asyncio.Future[None]]:
        return [done for _, done in self._in_flight.values()] + [message.done for message in self._waiting]

    def update_credentials(self, endpoint: Endpoint) -> None:
        """Use these from now on: reconnects when they differ."""
        if endpoint != self._endpoint or endpoint.ca_file:
            self._endpoint = endpoint
            self._nudge.set()
            if self._closed and not self._closed.done():
                self._closed.set_result("credentials changed")

    # -- publishing

    async def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        user: Mapping[str, str] | None = None,
    ) -> None:
        """Publish, and return when the broker has acknowledged it (QoS 0: when it is on its way).

        Raises NotAuthorized or BusError when the broker refuses it, ConnectionLost when the client is stopped first.
        """
        await self.publish_nowait(topic, payload, qos=qos, retain=retain, user=user)

    def publish_nowait(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        user: Mapping[str, str] | None = None,
    ) -> asyncio.Future[None]:
        """Publish without waiting; the future ends as :meth:`publish` would. Bound the flow with :meth:`writable`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        message = _Outgoing(topic, payload, qos, retain, pack_user(user) if user else None, done)
        if self.connected.is_set() and not self._waiting and len(self._in_flight) < self._window:
            self._send(message)
        elif self._greeter and _greeting.get() is self._greeter:
            self._first.append(message)
            self._pump()
        else:
            self._waiting.append(message)
            if len(self._waiting) >= self._session.high_water:
                self._drained.clear()
        return done

    async def writable(self) -> None:
        """Wait until fewer than ``Session.high_water`` messages wait to be sent."""
        await self._drained.wait()

    def _send(self, message: _Outgoing) -> None:
        assert self._mqtt is not None
        topic, payload, qos, retain, properties, done = message
        mid = self._mqtt.send(topic, payload, qos, retain, properties)
        if qos:
            self._in_flight[mid] = topic, done
        else:
            done.set_result(None)

    def _pump(self) -> None:
        """Send what may be sent: first what the greeting said, then, once it is over, what waits."""
        while len(self._in_flight) < self._window:
            if self._first:
                message = self._first.popleft()
            elif self._waiting and self.connected.is_set():
                message = self._waiting.popleft()
            else:
                break
            if not message.done.cancelled():
                self._send(message)
        if len(self._waiting) < self._session.high_water:
            self._drained.set()

    # -- subscribing

    async def subscribe(self, topic_filter: str, *, qos: int = 1, retain_handling: int = 0) -> None:
        """Subscribe; raises NotAuthorized or BusError when refused, ConnectionLost when not connected.

        ``retain_handling`` (MQTT 5.0 §3.8.3.1): 0 send retained messages, 1 only if the subscription is new, 2 never.
        """
        assert self._mqtt is not None
        options = SubscribeOptions(qos=qos, retainHandling=retain_handling)
        await self._ask(f"subscribe to {topic_filter}", self._mqtt.subscribe(topic_filter, options=options)[1])

    async def unsubscribe(self, topic_filter: str) -> None:
        """Unsubscribe; raises as :meth:`subscribe`. To unsubscribe what was not subscribed is fine."""
        assert self._mqtt is not None
        await self._ask(f"unsubscribe from {topic_filter}", self._mqtt.unsubscribe(topic_filter)[1])

    async def _ask(self, what: str, mid: int | None) -> None:
        if mid is None:
            raise ConnectionLost(f"cannot {what}: not connected ({self.last_error})")
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked[mid] = answer
        try:
            async with asyncio.timeout(_ANSWER):  # not wait_for, which may swallow a cancellation before Python 3.12
                _raise_for(await answer, what)
        except TimeoutError as error:
            raise ConnectionLost(f"cannot {what}: no answer within {_ANSWER:.0f} s") from error
        finally:
            self._asked.pop(mid, None)

    # -- staying connected

    async def _keep_connected(self) -> None:
        delay, loop, logged = _FIRST_DELAY, asyncio.get_running_loop(), ""
        while True:
            self._nudge.clear()
            began, longest = loop.time(), self._session.last_delay
            try:
                await self._live()
            except (OSError, ValueError, BusError) as error:  # OSError: TimeoutError and ssl.SSLError too
                if isinstance(error, ConnectionRefusedError):
                    longest = min(longest, _REFUSED_DELAY)
                self.last_error = str(error) or type(error).__name__
                if self.on_failure:
                    self.on_failure(error)
            if self._stopping:
                return
            if self.last_error != logged or loop.time() - began > _PROVEN:
                logged = self.last_error
                log.warning("no connection to %s: %s", self._endpoint.url, logged)
            delay = _FIRST_DELAY if loop.time() - began > _PROVEN else delay
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(delay, longest) * random.uniform(0.5, 1)):
                    await self._nudge.wait()
            delay = min(delay * 2, longest)

    async def _live(self) -> None:
        """One connection from dialling to its end; raises why it could not be made or why it ended."""
        assert self._mqtt is not None
        try:
            session_present = await self._connect()
            await self._greet(session_present)
            self.connected.set()
            self.last_error = ""
            log.info("connected to %s (session %s)", self._endpoint.url, "resumed" if session_present else "new")
            self._pump()
            assert self._closed is not None
            raise ConnectionLost(await self._closed)
        finally:
            self.connected.clear()
            self._mqtt.hang_up()
            _fail(self._asked.values(), ConnectionLost("the connection broke"))

    async def _connect(self) -> bool:
        assert self._mqtt is not None
        if self._directory:
            self._endpoint = Endpoint.read(self._directory, self._url)
        loop, session, endpoint = asyncio.get_running_loop(), self._session, self._endpoint
        address = Address(endpoint.url)
        self._connack, self._closed = loop.create_future(), loop.create_future()
        self._mqtt.username_pw_set(endpoint.username, endpoint.password)
        self._mqtt.aim(
            address,
            ssl.create_default_context(cafile=endpoint.ca_file, cadata=endpoint.ca_data) if address.tls else None,
        )
        await loop.run_in_executor(None, self._mqtt.dial)
        clean = session.clean_start and not self._mqtt.connection
        self._mqtt.greet(session.expiry, session.receive_maximum, clean, session.keepalive)
        async with asyncio.timeout(_ANSWER):
            code, reason, session_present = await self._connack
        if code:
            raise (NotAuthorized if code == _NOT_AUTHORIZED else BusError)(
                f"the broker at {endpoint.url} refused user {endpoint.username!r}: {reason} (reason code {code})"
            )
        return session_present

    async def _greet(self, session_present: bool) -> None:
        """Run ``on_connect``, but no longer than the connection lives."""
        if self.on_connect is None:
            return
        assert self._closed is not None
        greeting = asyncio.create_task(self._run_hook(self.on_connect, session_present))
        greeting.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            ends: list[asyncio.Future[Any]] = [greeting, self._closed]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not greeting.done():
                raise ConnectionLost(self._closed.result())
            greeting.result()
        finally:
            self._greeter = None
            greeting.cancel()
            _fail([message.done for message in self._first], ConnectionLost("the connection broke"))
            self._first.clear()

    async def _run_hook(self, hook: Callable[[bool], Awaitable[None]], session_present: bool) -> None:
        self._greeter = object()
        _greeting.set(self._greeter)
        await hook(session_present)

    async def _tick(self) -> None:
        """Keep-alive."""
        while True:
            await asyncio.sleep(1)
            assert self._mqtt is not None
            self._mqtt.loop_misc()

    async def _watch(self, directory: Path) -> None:
        """Reconnect when the mounted credentials have changed."""
        seen = _contents(directory)
        while True:
            await asyncio.sleep(_WATCH)
            if (now := _contents(directory)) != seen and now:
                seen = now
                log.info("credentials in %s changed", directory)
                self.update_credentials(Endpoint.read(directory, self._url))

    # -- what the connection tells (mqtt.Events)

    def on_connack(self, code: int, reason: str, session_present: bool, receive_maximum: int) -> None:
        self._window = min(self._session.window, receive_maximum)
        if self._connack and not self._connack.done():
            self._connack.set_result((code, reason, session_present))

    def on_closed(self, reason: str) -> None:
        self.connected.clear()
        if self._closed and not self._closed.done():
            self._closed.set_result(reason)
        if self._connack and not self._connack.done():
            self._connack.set_exception(ConnectionLost(f"closed before the broker answered: {reason}"))

    def on_puback(self, mid: int, code: int) -> None:
        topic, done = self._in_flight.pop(mid)
        if code >= 128:
            _fail([done], _refusal(code, f"publish to {topic}"))
        elif not done.done():
            done.set_result(None)
        if self._waiting or self._first:
            self._pump()

    def on_suback(self, mid: int, code: int) -> None:
        answer = self._asked.get(mid)
        if answer and not answer.done():
            answer.set_result(code)

    def on_publish(self, delivery: Delivery) -> None:
        if self.on_message:
            self.on_message(delivery)


def _contents(directory: Path) -> dict[str, bytes]:
    """The files of a mounted Secret; empty while kubelet swaps them."""
    try:
        return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    except OSError:
        return {}


def _fail(futures: Iterable[asyncio.Future[Any]], error: BusError) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error)
            future.exception()  # whoever does not look at it shall not be scolded by the loop


def _refusal(code: int, what: str) -> BusError:
    if code == _NOT_AUTHORIZED:
        return NotAuthorized(f"not authorized to {what} (reason code {code})")
    return BusError(f"the broker refused to {what} (reason code {code})")


def _raise_for(code: int, what: str) -> None:
    if code >= 128:
        raise _refusal(code, what)
