"""What the placement core is asked and what it answers: topology, request, policy, placement, refusal.

Everything is immutable and checked when it is made: a ValueError names the object, the field, the cause. The free
capacity of a topology is :class:`tephra.placement.residual.Residual`; solvers are behind :mod:`tephra.placement.solve`;
:mod:`tephra.placement.check` proves a :class:`Placement` against this file alone.

Units: delay in microseconds, bandwidth in kbit/s, CPU in millicores, memory and images in MiB, power in watts; integers
save for power and weights.

The network is :mod:`.topology`; its names are offered here too.

The objective of a placement (dimensionless; each dial of :class:`Policy` is the price of one unit; equations are those
of the integer program of :mod:`.ilp`)::

      latency    * sum over channels of the delay of their path                                eq. 1
    + opening    * sum over sites used of 100 * free CPU / CPU of the site                 eq. 2, host = site
    + acceptance * sum over functions and {CPU, memory} of demand / capacity of the site
                 * (price_base ** used share of the site - 1)                              exponential bid price
    + watts      * (sum over nodes woken of their idle watts
                 + sum over functions of (peak - idle watts of the node) * CPU / CPU of the node)
    + pull       * sum over nodes of the MiB of the distinct layers to be fetched there
    + disruption * sum over functions moved from where they run now of their memory in MiB
    + traffic    * sum over channels and arcs of their path of bandwidth
                 * price_base ** (used share of the arc's pool)                           exponential bid price

with free and used as they are before the request is placed, summed over the nodes of a site. With price_base 1 the last
term is the link cost of virtual network embedding: bandwidth times hops.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from tephra.placement import shapes, values
from tephra.placement.shapes import Shape
from tephra.placement.topology import (
    Capacity,
    Image,
    Ints,
    Layer,
    Link,
    Node,
    PowerCurve,
    Site,
    Topology,
)

__all__ = [
    "Affinity",
    "Capacity",
    "Channel",
    "Endpoint",
    "Function",
    "Image",
    "Ints",
    "Isolation",
    "Layer",
    "Link",
    "Node",
    "Placement",
    "Policy",
    "PowerCurve",
    "Refusal",
    "Relaxation",
    "Request",
    "Scope",
    "Shape",
    "Site",
    "Topology",
]


class Isolation(StrEnum):
    """With whom a function shares its node."""

    NONE = "none"
    TENANT = "tenant"  # only with functions of the same tenant
    EXCLUSIVE = "exclusive"  # with no other function at all


class Scope(StrEnum):
    """Where an affinity holds."""

    NODE = "node"
    SITE = "site"


@dataclass(frozen=True, slots=True)
class Function:
    """One thing to run: demand, and where it may run. `max_delay_us` bounds the delay of the shortest path, over the
    links that are up whatever their load, from the request's anchor to the function's site (proximity class)."""

    name: str
    cpu_m: int
    memory_mib: int
    compute_class: str = "container"
    max_delay_us: int | None = None
    image: Image | None = None
    isolation: Isolation = Isolation.NONE
    sites: frozenset[str] = frozenset()  # only these; empty: any

    def __post_init__(self) -> None:
        owner = f"Function {values.name('Function', 'name', self.name)}"
        object.__setattr__(self, "cpu_m", values.amount(owner, "cpu_m", self.cpu_m))
        object.__setattr__(self, "memory_mib", values.amount(owner, "memory_mib", self.memory_mib))
        values.name(owner, "compute_class", self.compute_class)
        if self.max_delay_us is not None:
            object.__setattr__(self, "max_delay_us", values.amount(owner, "max_delay_us", self.max_delay_us))
        object.__setattr__(self, "isolation", values.choice(owner, "isolation", self.isolation, Isolation))
        object.__setattr__(self, "sites", values.names(owner, "sites", self.sites))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Something that has its place already: the user, a device, a peer on the bus. `node` is needed only by an
    affinity of scope node."""

    name: str
    site: str
    node: str = ""

    def __post_init__(self) -> None:
        values.name("Endpoint", "name", self.name)
        values.name(f"Endpoint {self.name}", "site", self.site)


@dataclass(frozen=True, slots=True)
class Channel:
    """Traffic from `source` to `target` (functions or endpoints), on one path; none is needed inside a site. If the
    request has the reverse channel too, both follow the same sites (eq. 11)."""

    source: str
    target: str
    bandwidth_kbps: int

    def __post_init__(self) -> None:
        owner = f"Channel {self.source} → {self.target}"
        values.name(owner, "source", self.source)
        values.name(owner, "target", self.target)
        if self.source == self.target:
            raise ValueError(f"{owner}: source and target are the same; a channel joins two")
        object.__setattr__(self, "bandwidth_kbps", values.amount(owner, "bandwidth_kbps", self.bandwidth_kbps))


@dataclass(frozen=True, slots=True)
class Affinity:
    """The members (functions or endpoints) share one node or site; with `anti`, no two of them share one."""

    members: frozenset[str]
    scope: Scope
    anti: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", values.names("Affinity", "members", self.members))
        object.__setattr__(self, "scope", values.choice("Affinity", "scope", self.scope, Scope))
        object.__setattr__(self, "anti", values.flag("Affinity", "anti", self.anti))
        if len(self.members) < 2:
            raise ValueError(f"Affinity: members are {sorted(self.members)}; give at least two")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be placed as a whole, or not at all.

    `shape` is what the caller asks for; a graph of functions that is not of that shape is a ValueError. `anchor` is the
    endpoint of the user, from which maximum delays count. `max_path_us` bounds the sum of the path delays along a
    chain. `running` maps functions to the nodes where they run now, for the price of moving them; the residual given to
    a solver does not count them.
    """

    name: str
    shape: Shape
    functions: tuple[Function, ...]
    channels: tuple[Channel, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    anchor: str | None = None
    affinities: tuple[Affinity, ...] = ()
    tenant: str = ""
    max_path_us: int | None = None
    running: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        owner = f"Request {values.name('Request', 'name', self.name)}"
        for names in ("functions", "channels", "endpoints", "affinities"):
            object.__setattr__(self, names, tuple(getattr(self, names)))
        _set(self, shape=values.choice(owner, "shape", self.shape, Shape), running=MappingProxyType(dict(self.running)))
        if not self.functions:
            raise ValueError(f"{owner}: functions is empty; give at least one function")
        functions = [function.name for function in self.functions]
        endpoints = [endpoint.name for endpoint in self.endpoints]
        members = functions + endpoints
        values.unique(owner, "functions and endpoints", members)
        for channel in self.channels:
            values.known(owner, "channels", channel.source, members, "its functions and endpoints")
            values.known(owner, "channels", channel.target, members, "its functions and endpoints")
        values.unique(owner, "channels", (f"{channel.source} → {channel.target}" for channel in self.channels))
        for name in self.running:
            values.known(owner, "running", name, functions, "its functions")
        self._check_anchor(owner, endpoints)
        self._check_affinities(owner, members)
        arcs = [(channel.source, channel.target) for channel in self.channels]
        shapes.check(owner, self.shape, functions, endpoints, arcs)

    def _check_anchor(self, owner: str, endpoints: list[str]) -> None:
        if self.anchor is not None:
            values.known(owner, "anchor", self.anchor, endpoints, "its endpoints")
        bounded = [function.name for function in self.functions if function.max_delay_us is not None]
        if bounded and self.anchor is None:
            raise ValueError(f"{owner}: anchor is missing, but {bounded[0]!r} has max_delay_us; name the user")
        if self.max_path_us is not None:
            values.amount(owner, "max_path_us", self.max_path_us)
            if self.shape is not Shape.CHAIN:
                raise ValueError(f"{owner}: max_path_us bounds a chain, but shape is {self.shape}; leave it out")

    def _check_affinities(self, owner: str, members: list[str]) -> None:
        at = {endpoint.name: endpoint.node for endpoint in self.endpoints}
        for affinity in self.affinities:
            for member in sorted(affinity.members):
                values.known(owner, "affinities", member, members, "its functions and endpoints")
                if affinity.scope is Scope.NODE and at.get(member) == "":
                    raise ValueError(f"{owner}: affinities name endpoint {member!r} at scope node; give its node")


@dataclass(frozen=True, slots=True)
class Policy:
    """What a provider wants: the weights of the objective (module docstring) and the share of every node and link to
    keep free. The four dials are latency, acceptance, watts and disruption."""

    latency: float = 1.0  # per microsecond of path
    acceptance: float = 0.0  # of the bid price of the resources taken
    watts: float = 0.0  # per watt
    disruption: float = 0.0  # per MiB of memory moved
    opening: float = 0.0  # per point of eq. 2
    pull: float = 0.0  # per MiB of image to be fetched
    traffic: float = 0.0  # per kbit/s and hop, times the bid price of the link
    price_base: float = 100.0  # mu of the bid price
    headroom: float = 0.0  # share of CPU, memory and bandwidth kept free

    def __post_init__(self) -> None:
        for dial in ("latency", "acceptance", "watts", "disruption", "opening", "pull", "traffic"):
            object.__setattr__(self, dial, values.number("Policy", dial, getattr(self, dial)))
        object.__setattr__(self, "price_base", values.number("Policy", "price_base", self.price_base, 1.0))
        object.__setattr__(self, "headroom", values.number("Policy", "headroom", self.headroom, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Placement:
    """A request placed: function → node, channel (source, target) → sites of its path from end to end (one site when
    both ends share it). `lower_bound` is certified: no placement of the request on that residual is below it."""

    request: Request
    assignment: Mapping[str, str]
    paths: Mapping[tuple[str, str], tuple[str, ...]]
    objective: float
    lower_bound: float
    solver: str
    milliseconds: float
    explanation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _set(self, assignment=MappingProxyType(dict(self.assignment)), paths=MappingProxyType(dict(self.paths)))

    @property
    def gap(self) -> float:
        """(objective - lower bound) / objective, in 0..1; 0 is proved optimal."""
        return (self.objective - self.lower_bound) / self.objective if self.objective > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One change that would admit the request: `field` of `object` from `before` to `after`."""

    object: str
    field: str
    before: int | str
    after: int | str
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not placed: what stopped it, as far as it is known, and the cheapest change that would admit
    it. `proved` says whether no placement exists; otherwise none was found."""

    request: Request
    reason: str
    proved: bool
    solver: str
    milliseconds: float
    function: str | None = None
    compute_class: str | None = None
    resource: str | None = None  # cpu_m, memory_mib, bandwidth_kbps, max_delay_us, ...
    link: tuple[str, str] | None = None
    relaxation: Relaxation | None = None


def _set(target: object, **fields: object) -> None:
    for name, value in fields.items():
        object.__setattr__(target, name, value)
