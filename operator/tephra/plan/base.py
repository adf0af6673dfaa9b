"""What a planner takes and gives: the contract between :mod:`tephra.plan` and the engine (:mod:`tephra.reconcile`).

A planner is a pure function ``(desired, key, world) -> Plan``. The engine performs the plan's actions in order
through the performer (:mod:`tephra.act.perform`, which dispatches on their type), then writes the status once,
and only when it says something new. A planner must come to the same plan when nothing has changed.

Objects are plain JSON dicts straight from the cache: read them, never change them.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import orjson

from tephra.bus.messages import SiloReport, ThingVisorReport
from tephra.bus.roles import Role

Object = Mapping[str, Any]


def fingerprint(manifest: Object) -> str:
    """Short digest of a rendered manifest: the performer writes it as annotation ``tephra.dev/applied``, planners
    compare it to tell whether a live child is what they ask for now."""
    return hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


class Key(NamedTuple):
    """Names an object and stays valid when it is gone. ``namespace`` is empty for cluster-scoped kinds."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @classmethod
    def of(cls, item: Object) -> "Key":
        meta = item["metadata"]
        return cls(item["kind"], meta.get("namespace") or "", meta["name"])


# --- what a plan asks for ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Action:
    """Something to be done outside; subclasses are data, the performer knows how."""


@dataclass(frozen=True, slots=True)
class Apply(Action):
    """Make a Kubernetes object so by server-side apply; a no-op when it is so already."""

    manifest: Object


@dataclass(frozen=True, slots=True)
class Delete(Action):
    """Delete that very object (``uid``), which the operator created; gone already is as good."""

    key: Key
    uid: str


@dataclass(frozen=True, slots=True)
class BusPublish(Action):
    """Publish on the core bus, QoS 1; ``None`` clears a retained topic. A no-op when the broker holds it already."""

    topic: str
    payload: bytes | None
    retain: bool = True


@dataclass(frozen=True, slots=True)
class BusAccess(Action):
    """Give ``identity`` (``tv.<ns>.<name>`` or ``silo.<ns>.<name>``) this password and exactly this role."""

    identity: str
    password: str
    role: Role


@dataclass(frozen=True, slots=True)
class BusForget(Action):
    """Withdraw an identity with its role; the broker drops its connection."""

    identity: str


@dataclass(frozen=True, slots=True)
class EventNote:
    """A Kubernetes Event about the planned object; the engine removes repetitions."""

    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"
    action: str = "Reconcile"


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from the desired state and the world.

    ``status``: the whole status that the operator owns, or None to leave it. Conditions in it are
    ``{type, status, reason, message}``; the engine adds ``lastTransitionTime`` and ``observedGeneration``.
    ``settled``: this generation's work is done (or cannot go on until somebody acts: Stalled). Only then does
    ``observedGeneration`` move. ``requeue_after``: seconds; only for what no event will announce.
    """

    actions: tuple[Action, ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[EventNote, ...] = ()
    requeue_after: float | None = None
    settled: bool = True


NOTHING = Plan()


# --- what a planner sees ----------------------------------------------------------------------------------------


class ServerCertificate(NamedTuple):
    """What a TLS server needs, in PEM. ``renew_at``: Unix time from which the derivation gives the next one."""

    certificate: str
    """The server's certificate, then intermediate ones."""
    key: str
    ca: str
    """What clients are to trust; several certificates while a CA is being replaced."""
    renew_at: float


class Keys(Protocol):
    """Every credential, derived from the master key: the same arguments give the same bytes (no state, no I/O)."""

    @property
    def bus_ca(self) -> str:
        """What clients of the core bus are to trust, PEM; empty when its URL uses no TLS."""

    def password(self, uid: str, purpose: str, epoch: int = 0) -> str:
        """A password of 192 bits, URL-safe; ``purpose`` keeps the passwords of one object apart."""

    def mosquitto_hash(self, password: str) -> str:
        """``$7$…``: the password as Mosquitto's ``password_file`` holds it after ``user:``."""

    def server_certificate(self, uid: str, names: Iterable[str], now: float) -> ServerCertificate:
        """A certificate for these host names and IP addresses (the first is the common name), valid at ``now``."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the administrator chose for the whole system (contracts §7)."""

    namespace: str = "tephra-system"
    """The operator's own namespace."""
    bus_url: str = "mqtts://tephra-bus.tephra-system.svc.cluster.local:8883"
    """The core bus as pods reach it."""
    cluster_domain: str = "cluster.local"
    external_address: str = ""
    """Host in the external endpoints of NodePort silos; empty: the address of a node."""


@dataclass(frozen=True, slots=True)
class BusState:
    """What the core bus said last. Keys of the reports are bus identities ``<namespace>.<name>``."""

    connected: bool = False
    enforced: bool = False
    """The authoriser enforces roles (False under ``static``)."""
    thing_visors: Mapping[str, ThingVisorReport] = field(default_factory=dict)
    silos: Mapping[str, SiloReport] = field(default_factory=dict)
    retained: Collection[str] = ()
    """Retained topics under our prefixes."""
    identities: Collection[str] = ()
    """User names with access (``tv.…``, ``silo.…``)."""


class View(Protocol):
    """Everything the cluster is known to hold at one moment; collections are in no particular order."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """An object, or None; ``namespace`` is empty for cluster-scoped kinds."""

    def all(self, kind: str, namespace: str | None = None) -> Collection[Object]:
        """All objects of a kind, or those of one namespace."""

    def children(self, owner_uid: str, kind: str | None = None) -> Collection[Object]:
        """What carries the owner label of that uid, of one kind or all."""

    def indexed(self, index: str, value: str) -> Collection[Object]:
        """The objects that a named :class:`Index` files under ``value``."""


class World(View, Protocol):
    """The view that a planner decides on: the cluster, the bus and the time."""

    @property
    def now(self) -> float:
        """Unix time in seconds."""

    @property
    def epoch(self) -> int:
        """The fencing epoch of the leader (transitions of its Lease)."""

    @property
    def bus(self) -> BusState: ...

    @property
    def keys(self) -> Keys: ...

    @property
    def settings(self) -> Settings: ...


class Planner(Protocol):
    """Decides for one kind; ``desired`` is None when the object is gone."""

    def __call__(self, desired: Object | None, key: Key, world: World) -> Plan: ...


class Index(NamedTuple):
    """Files objects of one kind under values, e.g. VSilos under the ids of the vThings that they list."""

    name: str
    kind: str
    values: Callable[[Object], Iterable[str]]


Dependents = Callable[[Object, View], Iterable[Key]]
"""Which other objects to plan again when this one appeared, changed or vanished (its last state is given)."""
