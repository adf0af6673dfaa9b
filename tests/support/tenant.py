"""A tenant's own MQTT client: what an IoT developer's program sees of a vSilo.

Plain paho with its own thread, on purpose not our BusClient: the tests must not trust the code they judge.
"""

import queue
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode


class Message(NamedTuple):
    """One message with the time it came (`time.monotonic()`, seconds)."""

    topic: str
    payload: bytes
    retain: bool
    at: float


class Refused(Exception):
    """The broker answered with an MQTT 5 reason code of 128 or more."""

    def __init__(self, what: str, code: int) -> None:
        super().__init__(f"{what}: reason code {code}")
        self.code = code


class Tenant:
    """One connection; every message received is in `messages`, in order."""

    def __init__(
        self, url: str, user: str, password: str, ca: str | None, client_id: str = "", *, will: str = ""
    ) -> None:
        """`will`: topic of a retained message that the broker is to publish when the connection breaks."""
        parts = urlsplit(url)
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=mqtt.MQTTv5,
            transport="websockets" if parts.scheme in {"ws", "wss"} else "tcp",
        )
        self._client.username_pw_set(user, password)
        if parts.scheme in {"mqtts", "wss"}:
            self._client.tls_set_context(ssl.create_default_context(cadata=ca))
        if will:
            self._client.will_set(will, b"{}", qos=1, retain=True)
        self._arrived: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self.messages: list[Message] = []
        self._answers: dict[int, ReasonCode] = {}
        self._answered = threading.Condition()
        self._connected: queue.SimpleQueue[ReasonCode] = queue.SimpleQueue()
        self.disconnected = threading.Event()
        self._client.on_message = lambda _c, _u, m: self._arrived.put(
            Message(m.topic, bytes(m.payload), bool(m.retain), time.monotonic())
        )
        self._client.on_connect = lambda _c, _u, _f, code, _p: self._connected.put(code)
        self._client.on_disconnect = lambda *_: self.disconnected.set()
        self._client.on_subscribe = lambda _c, _u, mid, codes, _p: self._answer(mid, codes[0])
        self._client.on_publish = lambda _c, _u, mid, code, _p: self._answer(mid, code)
        self._host, self._port = parts.hostname or "", parts.port or 8883

    def connect(self, timeout: float = 10) -> "Tenant":
        """Connect once; `Refused` when the broker says no."""
        expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        expiry.SessionExpiryInterval = 0
        self._client.connect(self._host, self._port, keepalive=10, clean_start=True, properties=expiry)
        self._client.loop_start()
        code = self._connected.get(timeout=timeout)
        if code.is_failure:
            self.close()
            raise Refused(f"connection of {self._client.username!r}", code.value)
        return self

    def subscribe(self, topics: str, qos: int = 1) -> None:
        """Subscribe and wait for the answer; `Refused` when it is 128 or more."""
        _, mid = self._client.subscribe(topics, qos=qos)
        self._check(f"subscription to {topics}", mid)

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Publish with QoS 1 and wait for the answer; `Refused` when it is 128 or more."""
        self._check(f"publication on {topic}", self._client.publish(topic, payload, qos=1, retain=retain).mid)

    def next(self, timeout: float = 10) -> Message:
        """The next message; `TimeoutError` when none comes."""
        try:
            message = self._arrived.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"no message in {timeout} s; {len(self.messages)} came before") from None
        self.messages.append(message)
        return message

    def until(self, wanted: Any, timeout: float = 20) -> Message:
        """The first message from now on for which `wanted(message)` holds."""
        end = time.monotonic() + timeout
        while True:
            message = self.next(max(0.0, end - time.monotonic()))
            if wanted(message):
                return message

    def quiet_for(self, seconds: float) -> bool:
        """True when nothing arrives in that time."""
        try:
            self.next(seconds)
        except TimeoutError:
            return True
        return False

    def drain(self) -> list[Message]:
        """What has arrived already, without waiting."""
        seen = len(self.messages)
        while not self.quiet_for(0):
            pass
        return self.messages[seen:]

    def reconnected(self, timeout: float) -> None:
        """Wait until the connection broke and stands again, by itself."""
        end = time.monotonic() + timeout
        if not self.disconnected.wait(timeout):
            raise TimeoutError(f"still connected after {timeout} s")
        while self._connected.get(timeout=max(0.0, end - time.monotonic())).is_failure:
            pass

    def vanish(self) -> None:
        """Break the connection without a word, as a crash does."""
        self._client.loop_stop()
        connection = self._client.socket()
        assert connection is not None
        connection.close()

    def close(self) -> None:
        """Disconnect and stop the thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _answer(self, mid: int, code: ReasonCode) -> None:
        with self._answered:
            self._answers[mid] = code
            self._answered.notify_all()

    def _check(self, what: str, mid: int | None) -> None:
        assert mid is not None
        with self._answered:
            if not self._answered.wait_for(lambda: mid in self._answers, timeout=10):
                raise TimeoutError(f"{what}: no answer in 10 s")
            code = self._answers.pop(mid)
        if code.is_failure:
            raise Refused(what, code.value)


@contextmanager
def connected(
    url: str, user: str, password: str, ca: str | None, client_id: str = "", *, will: str = ""
) -> Iterator[Tenant]:
    """A tenant that is connected within the block."""
    tenant = Tenant(url, user, password, ca, client_id, will=will).connect()
    try:
        yield tenant
    finally:
        tenant.close()
