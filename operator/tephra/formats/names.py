"""The name codec: the only way from one name space to another (DESIGN §4).

Four name spaces meet in Tephra, and each forbids something that another allows:

* a **thing id** as its source spells it: any Unicode text (``rome_temp``, ``Câmera 1``);
* a **Kubernetes name** (RFC 1123 subdomain, at most 253 bytes): ``weather.rome-temp``;
* an **MQTT topic level** (MQTT 5.0 §4.7): no ``/``, ``+``, ``#`` or NUL;
* a **bus identity**: ``<namespace>.<name>``, where neither part of ours holds a dot.

Every function is reversible on its whole domain and refuses what lies outside it, so no two things ever
share a name. Neighbours: :mod:`tephra.bus.topics` builds topics from these, :mod:`tephra.plan` object names.
"""

import base64
import re
from typing import NamedTuple

MAX_NAME = 253
"""Longest Kubernetes object name, in bytes (RFC 1123 subdomain)."""
MAX_OWNER = 63
"""Longest ThingVisor name, in bytes (RFC 1123 label)."""
MAX_THING_BYTES = 112
"""Longest thing id, in UTF-8 bytes: its base32 image always fits beside the longest ThingVisor name."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_HEX, _BASE32 = "x--", "b--"
_MAX_ENCODED = MAX_NAME - MAX_OWNER - 1
_TOPIC_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f%/+#]")


class InvalidName(ValueError):
    """A name that has no image in the other name space; the message says which name and why."""


class ThingId(NamedTuple):
    """A vThing's full identity: the namespace and name of its ThingVisor, and the thing as announced."""

    namespace: str
    thing_visor: str
    thing: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.thing_visor}/{self.thing}"

    @property
    def bus_identity(self) -> str:
        """The ThingVisor's name on the bus, ``<namespace>.<name>``."""
        return bus_identity(self.namespace, self.thing_visor)

    @property
    def name(self) -> str:
        """The ``metadata.name`` of its VThing object."""
        return vthing_name(self.thing_visor, self.thing)


def parse_thing_id(text: str) -> ThingId:
    """Split ``namespace/thingVisor/thing``; the thing may itself hold slashes."""
    parts = text.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise InvalidName(f"vThing id {text!r} is not of the form namespace/thingVisor/thing")
    return ThingId(*parts)


def bus_identity(namespace: str, name: str) -> str:
    """``<namespace>.<name>``: reversible because neither is allowed a dot."""
    for part in (namespace, name):
        if not _LABEL.fullmatch(part):
            raise InvalidName(f"{part!r} is not an RFC 1123 label, so it cannot be part of a bus identity")
    return f"{namespace}.{name}"


def parse_bus_identity(identity: str) -> tuple[str, str]:
    """Invert :func:`bus_identity`: ``(namespace, name)``."""
    namespace, _, name = identity.partition(".")
    if bus_identity(namespace, name) != identity:
        raise InvalidName(f"{identity!r} is not a bus identity of the form namespace.name")
    return namespace, name


def encode_thing(thing: str) -> str:
    """The image of a thing id as part of a Kubernetes name: itself when legal, else hex escapes, else base32."""
    raw = thing.encode()
    if not raw or len(raw) > MAX_THING_BYTES:
        raise InvalidName(f"thing id {thing!r} has {len(raw)} UTF-8 bytes; 1 to {MAX_THING_BYTES} are allowed")
    if _SUBDOMAIN.fullmatch(thing) and not thing.startswith((_HEX, _BASE32)):
        return thing
    escaped = _HEX + "".join(chr(b) if chr(b).isalnum() and b < 128 and not 65 <= b <= 90 else f"-{b:02x}" for b in raw)
    if len(escaped) <= _MAX_ENCODED:
        return escaped
    return _BASE32 + base64.b32encode(raw).decode().rstrip("=").lower()


def decode_thing(encoded: str) -> str:
    """Invert :func:`encode_thing`; refuses text that it never makes."""
    try:
        if encoded.startswith(_HEX):
            thing = (
                re.sub(r"-([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), encoded[len(_HEX) :]).encode("latin-1").decode()
            )
        elif encoded.startswith(_BASE32):
            body = encoded[len(_BASE32) :].upper()
            thing = base64.b32decode(body + "=" * (-len(body) % 8)).decode()
        else:
            thing = encoded
        canonical = encode_thing(thing) == encoded
    except ValueError as error:
        raise InvalidName(f"{encoded!r} is not the image of a thing id: {error}") from error
    if not canonical:
        raise InvalidName(f"{encoded!r} is not the canonical image of a thing id")
    return thing


def vthing_name(thing_visor: str, thing: str) -> str:
    """The ``metadata.name`` of a VThing: ``<thingVisor>.<thing>`` with the thing encoded where it must be."""
    if not _LABEL.fullmatch(thing_visor) or len(thing_visor) > MAX_OWNER:
        raise InvalidName(f"ThingVisor name {thing_visor!r} is not an RFC 1123 label of at most {MAX_OWNER} bytes")
    return f"{thing_visor}.{encode_thing(thing)}"


def parse_vthing_name(name: str) -> tuple[str, str]:
    """Invert :func:`vthing_name`: ``(thingVisor, thing)``."""
    thing_visor, dot, encoded = name.partition(".")
    if not dot:
        raise InvalidName(f"{name!r} is not a VThing name of the form thingVisor.thing")
    return thing_visor, decode_thing(encoded)


def topic_level(text: str) -> str:
    """One MQTT topic level holding any text: percent-encodes only what MQTT 5.0 §4.7 forbids, and ``%``."""
    if not text:
        raise InvalidName("an empty text has no topic level")
    return _TOPIC_UNSAFE.sub(lambda m: "".join(f"%{b:02X}" for b in m[0].encode()), text)


def parse_topic_level(level: str) -> str:
    """Invert :func:`topic_level`."""
    try:
        raw = re.sub(rb"%([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), level.encode())
        text = raw.decode()
    except UnicodeError as error:
        raise InvalidName(f"{level!r} is not an encoded topic level: {error}") from error
    if topic_level(text) != level:
        raise InvalidName(f"{level!r} is not an encoded topic level")
    return text
