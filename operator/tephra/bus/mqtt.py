"""paho-mqtt on the asyncio loop: no thread, one ``recv`` and one ``send`` per wake-up, cheap user properties.

paho gives the protocol; this subclass gives it a socket that batches and a loop to run on. It goes below paho's public
surface in four places, each for a measured reason:

* ``_create_socket``: name resolution, TCP, TLS and WebSocket handshakes block, so :meth:`LoopClient.dial` does them
  in the executor and paho is handed the ready socket. The socket is wrapped in :class:`_BatchingSocket`, since paho
  reads a packet with three or four ``recv`` calls and writes one packet per ``send`` (under TLS: one record).
* ``_create_socket_connection``: TCP_NODELAY, without which an acknowledged message can take 40 ms.
* ``_handle_publish``: paho's property decoding costs 38 µs a message, :mod:`.properties` two, when asked.
* ``_handle_pubackcomp``: the same for the reason code of an acknowledgement.

paho's own in-flight limit stays off: it scans every message in flight at every acknowledgement. The window is kept by
:mod:`.client`, the only user of this module.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Literal, Protocol, cast
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.exception import MalformedPacket
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tephra.bus.properties import Packed, read_user, read_varint

log = logging.getLogger(__name__)

_CHUNK = 1 << 16
_DEFAULT_PORT = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443, "unix": 1}
_TRANSPORT: dict[str, Literal["tcp", "websockets", "unix"]] = {
    "mqtt": "tcp",
    "mqtts": "tcp",
    "ws": "websockets",
    "wss": "websockets",
    "unix": "unix",
}


class Address:
    """Where a broker is: ``mqtt://host[:port]``, ``mqtts://``, ``ws://host/path``, ``wss://`` or ``unix:///path``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORT or not (parts.path if parts.scheme == "unix" else parts.hostname):
            raise ValueError(
                f"broker URL {url!r} is not of the form mqtt://host:port (also mqtts, ws, wss) or unix:///path"
            )
        self.transport = _TRANSPORT[parts.scheme]
        self.tls = parts.scheme in {"mqtts", "wss"}
        self.host = parts.path if parts.scheme == "unix" else cast(str, parts.hostname)
        self.port = parts.port or _DEFAULT_PORT[parts.scheme]
        self.path = parts.path or "/mqtt"


class Socket(Protocol):
    """What paho wants of a socket."""

    def recv(self, buffer_size: int) -> bytes: ...
    def send(self, buffer: bytes | bytearray) -> int: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...
    def setblocking(self, flag: bool) -> None: ...


class _BatchingSocket:
    """A socket that is read in large pieces and written when :meth:`flush` is called."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._in = b""
        self._at = 0
        self._out = bytearray()
        self._pending: Callable[[], int] = getattr(sock, "pending", int)
        self.fileno = sock.fileno
        self.setblocking = sock.setblocking

    def recv(self, size: int) -> bytes:
        start, end = self._at, self._at + size
        if start >= len(self._in):
            self._in = self._sock.recv(_CHUNK)
            start, end = 0, size
        self._at = end
        return self._in[start:end]

    def readable(self) -> bool:
        """Whether bytes wait here or in the TLS layer, where the loop's selector cannot see them."""
        return self._at < len(self._in) or self._pending() > 0

    def send(self, data: bytes) -> int:
        self._out += data
        return len(data)

    def flush(self) -> bool:
        """Write what waits; False when the kernel takes no more for now."""
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.flush()  # the DISCONNECT of an orderly end is still here
        self._sock.close()


class Delivery:
    """One PUBLISH as it came in; properties are parsed when asked for."""

    __slots__ = ("_client", "_connection", "_flags", "_mid", "_section", "payload", "topic")

    def __init__(self, client: "LoopClient", flags: int, packet: bytes) -> None:
        end = 2 + (packet[0] << 8 | packet[1])
        self.topic = packet[2:end].decode()
        self._mid = 0
        if flags & 6:
            self._mid, end = packet[end] << 8 | packet[end + 1], end + 2
        length, start = read_varint(packet, end)
        self._section = packet[start : start + length]
        self.payload = packet[start + length :]
        self._flags = flags
        self._client = client
        self._connection = client.connection

    @property
    def retain(self) -> bool:
        """It was retained when our subscription was made (not: somebody sets the flag just now)."""
        return self._flags & 1 == 1

    @property
    def user(self) -> dict[str, str]:
        """The user properties."""
        return read_user(self._section)

    def ack(self) -> None:
        """Acknowledge (manual acknowledgement); nothing when its connection is gone: it will come again."""
        if self._mid and self._connection == self._client.connection:
            self._client._send_puback(self._mid)


class Events(Protocol):
    """Who is told what happens on the connection; called on the loop, must not block."""

    def on_connack(self, code: int, reason: str, session_present: bool, receive_maximum: int) -> None: ...
    def on_closed(self, reason: str) -> None: ...
    def on_puback(self, mid: int, code: int) -> None: ...
    def on_suback(self, mid: int, code: int) -> None: ...
    def on_publish(self, delivery: Delivery) -> None: ...


class LoopClient(paho.Client):
    """A paho client whose socket lives on the running asyncio loop."""

    def __init__(self, address: Address, client_id: str, manual_ack: bool, events: Events) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            transport=address.transport,
            manual_ack=manual_ack,
        )
        self.max_inflight_messages = 0
        self._aio = asyncio.get_running_loop()
        self._events = events
        self._dialled: _BatchingSocket | None = None
        self._writer_armed = False
        self.connection = 0
        """Grows at every opening and closing, so that what belongs to an earlier connection is known."""
        self._bind_callbacks(events)

    def _bind_callbacks(self, events: Events) -> None:
        self.on_connect = self._connected
        self.on_disconnect = self._disconnected
        self.on_subscribe = lambda _client, _data, mid, codes, _props: events.on_suback(mid, codes[0].value)
        self.on_unsubscribe = lambda _client, _data, mid, codes, _props: events.on_suback(mid, codes[0].value)
        self.on_socket_open = self._socket_opened
        self.on_socket_close = self._socket_closing
        self.on_socket_register_write = self._write_soon
        self.on_socket_unregister_write = lambda *_: None

    # -- connecting

    def aim(self, address: Address, tls: ssl.SSLContext | None) -> None:
        """Where and how the next :meth:`dial` goes."""
        self._transport, self._host, self._port = address.transport, address.host, address.port
        self._ssl, self._ssl_context = tls is not None, tls
        self._websocket_path = address.path

    def dial(self) -> None:
        """Open the socket; blocks, so run it in the executor. Raises OSError (TLS and WebSocket errors included)."""
        self._dialled = _BatchingSocket(super()._create_socket())

    def greet(self, session_expiry: int, receive_maximum: int, clean_start: bool, keepalive: int) -> None:
        """Send CONNECT on the socket that :meth:`dial` opened; the answer comes as ``on_connack``."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session_expiry
        properties.ReceiveMaximum = receive_maximum
        self.connect_async(self._host, self._port, keepalive=keepalive, clean_start=clean_start, properties=properties)
        self.reconnect()

    def hang_up(self) -> None:
        """Close the socket at once, without a word to the broker."""
        if self._dialled is not None:
            self._dialled.close()
            self._dialled = None
        self._sock_close()

    def _create_socket(self) -> Any:
        sock, self._dialled = self._dialled, None
        return sock

    def _create_socket_connection(self) -> socket.socket:
        sock = super()._create_socket_connection()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def _connected(self, _client: Any, _data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.connection += 1
        window = getattr(properties, "ReceiveMaximum", 65535)
        self._events.on_connack(code.value, str(code), flags.session_present, window)

    def send(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Packed | None) -> int:
        """Publish; the packet id. QoS 1 is kept, and sent again on the next connection, until acknowledged."""
        while True:
            info = self.publish(topic, payload, qos, retain, cast(Properties, properties))
            if info.rc != MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # the id is still in use by a message in flight
                return info.mid

    def _disconnected(self, _client: Any, _data: Any, flags: Any, code: Any, _properties: Any) -> None:
        said = flags.is_disconnect_packet_from_server
        self._events.on_closed(f"the broker said: {code}" if said else f"the connection broke ({code})")

    # -- the socket on the loop

    def _socket_opened(self, _client: Any, _data: Any, sock: Any) -> None:
        self._aio.add_reader(sock.fileno(), self._read)

    def _socket_closing(self, _client: Any, _data: Any, sock: Any) -> None:
        self.connection += 1
        self._aio.remove_reader(sock.fileno())
        self._disarm_writer(sock)

    def _read(self) -> None:
        while self.loop_read() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            sock = cast(_BatchingSocket | None, self.socket())
            if sock is None or not sock.readable():
                return

    def _write_soon(self, _client: Any, _data: Any, _sock: Any) -> None:
        self._aio.call_soon(self._write)

    def _write(self) -> None:
        sock = cast(_BatchingSocket | None, self.socket())
        if sock is None:
            return
        self.loop_write()
        if self.socket() is None:
            return
        try:
            drained = sock.flush()
        except OSError as error:
            self.loop_read()  # lets paho notice; a reset socket reads as closed
            log.debug("write failed: %s", error)
            return
        if drained:
            self._disarm_writer(sock)
        elif not self._writer_armed:
            self._writer_armed = True
            self._aio.add_writer(sock.fileno(), self._write)

    def _disarm_writer(self, sock: _BatchingSocket) -> None:
        if self._writer_armed:
            self._writer_armed = False
            self._aio.remove_writer(sock.fileno())

    # -- packets

    def _handle_publish(self) -> MQTTErrorCode:
        try:
            delivery = Delivery(self, self._in_packet["command"], bytes(self._in_packet["packet"]))
        except (IndexError, UnicodeDecodeError) as error:
            raise MalformedPacket(f"not a PUBLISH: {error}") from error
        try:
            self._events.on_publish(delivery)
        except Exception:
            log.exception("handling a message on %s failed", delivery.topic)
        if not self._manual_ack:
            delivery.ack()
        return MQTTErrorCode.MQTT_ERR_SUCCESS

    def _handle_pubackcomp(self, cmd: Literal["PUBACK", "PUBCOMP"]) -> MQTTErrorCode:
        packet = self._in_packet["packet"]
        mid = packet[0] << 8 | packet[1]
        if self._out_messages.pop(mid, None) is not None:
            self._inflight_messages -= 1
            self._events.on_puback(mid, packet[2] if len(packet) > 2 else 0)
        return MQTTErrorCode.MQTT_ERR_SUCCESS
