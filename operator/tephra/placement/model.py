"""What the placement core is asked and what it answers: topology, request, policy, placement, refusal.

Everything is immutable and checked when it is made: a ValueError names the object, the field, the cause. The free
capacity of a topology is :class:`tephra.placement.residual.Residual`; solvers are behind :mod:`tephra.placement.solve`;
:mod:`tephra.placement.check` proves a :class:`Placement` against this file alone.

Units: delay in microseconds, bandwidth in kbit/s, CPU in millicores, memory and images in MiB, power in watts; integers
save for power and weights.

The objective of a placement (dimensionless; each dial of :class:`Policy` is the price of one unit)::

      latency    * sum over channels of the delay of their path                            S001 eq. 1
    + opening    * sum over sites used of 100 * free CPU / CPU of the site                 S001 eq. 2, host = site
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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tephra.placement import shapes, values
from tephra.placement.shapes import Shape

Ints = NDArray[np.int64]


class Capacity(StrEnum):
    """What the bandwidth of a link means; always stated, for S001 left it open."""

    ONE_WAY = "one-way"  # the link carries traffic from `a` to `b` only
    PER_DIRECTION = "per-direction"  # each direction has the full bandwidth (full duplex)
    SHARED = "shared"  # both directions together have it (radio, half duplex)


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
class PowerCurve:
    """Watts over CPU use: piecewise linear through `points` (share of CPU in 0..1, watts), as SPECpower publishes."""

    points: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1.0, 0.0))

    def __post_init__(self) -> None:
        points = tuple(
            (values.number("PowerCurve", "share", share, 0, 1), values.number("PowerCurve", "watts", watts))
            for share, watts in self.points
        )
        shares = [share for share, _ in points]
        if len(points) < 2 or shares[0] != 0 or shares[-1] != 1 or sorted(set(shares)) != shares:
            raise ValueError(f"PowerCurve: shares are {shares}; give at least two, rising from 0 to 1")
        object.__setattr__(self, "points", points)

    def watts(self, share: float) -> float:
        """Power at a CPU use of `share` (clipped to 0..1)."""
        shares, watts = zip(*self.points, strict=True)
        return float(np.interp(share, shares, watts))

    @property
    def idle(self) -> float:
        """Watts of the idle node."""
        return self.points[0][1]

    @property
    def peak(self) -> float:
        """Watts at full CPU use."""
        return self.points[-1][1]


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a container image, known by its digest."""

    digest: str
    mib: int

    def __post_init__(self) -> None:
        values.name("Layer", "digest", self.digest)
        object.__setattr__(self, "mib", values.amount(f"Layer {self.digest}", "mib", self.mib))


@dataclass(frozen=True, slots=True)
class Image:
    """A container image. Nodes that hold the image hold all its layers."""

    name: str
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        values.name("Image", "name", self.name)
        object.__setattr__(self, "layers", tuple(self.layers))
        values.unique(f"Image {self.name}", "layers", (layer.digest for layer in self.layers))


@dataclass(frozen=True, slots=True)
class Node:
    """One server: what it can hold (`cpu_m`, `memory_mib` are allocatable capacity), run, and has fetched already."""

    name: str
    cpu_m: int
    memory_mib: int
    classes: frozenset[str] = frozenset({"container"})
    images: frozenset[str] = frozenset()  # names of images present
    layers: frozenset[str] = frozenset()  # digests of layers present
    power: PowerCurve = PowerCurve()
    awake: bool = True  # not `on`: YAML 1.1 reads that as a truth value

    def __post_init__(self) -> None:
        owner = f"Node {values.name('Node', 'name', self.name)}"
        object.__setattr__(self, "cpu_m", values.amount(owner, "cpu_m", self.cpu_m))
        object.__setattr__(self, "memory_mib", values.amount(owner, "memory_mib", self.memory_mib))
        object.__setattr__(self, "awake", values.flag(owner, "awake", self.awake))
        for names in ("classes", "images", "layers"):
            object.__setattr__(self, names, _names(owner, names, getattr(self, names)))


@dataclass(frozen=True, slots=True)
class Site:
    """A vertex of the network. Without nodes it only carries traffic. The position serves pictures."""

    name: str
    nodes: tuple[Node, ...] = ()
    latitude: float | None = None
    longitude: float | None = None

    def __post_init__(self) -> None:
        owner = f"Site {values.name('Site', 'name', self.name)}"
        object.__setattr__(self, "nodes", tuple(self.nodes))
        for coordinate, most in (("latitude", 90.0), ("longitude", 180.0)):
            if getattr(self, coordinate) is not None:
                values.number(owner, coordinate, getattr(self, coordinate), -most, most)


@dataclass(frozen=True, slots=True)
class Link:
    """A link between sites `a` and `b`. With bandwidth 0 it is down: no traffic, and no delay counted across it."""

    a: str
    b: str
    delay_us: int
    bandwidth_kbps: int
    capacity: Capacity

    def __post_init__(self) -> None:
        owner = f"Link {self.a} - {self.b}"
        values.name(owner, "a", self.a)
        values.name(owner, "b", self.b)
        if self.a == self.b:
            raise ValueError(f"{owner}: a and b are the same site; a link joins two sites")
        object.__setattr__(self, "delay_us", values.amount(owner, "delay_us", self.delay_us))
        object.__setattr__(self, "bandwidth_kbps", values.amount(owner, "bandwidth_kbps", self.bandwidth_kbps))
        object.__setattr__(self, "capacity", values.choice(owner, "capacity", self.capacity, Capacity))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Topology:
    """Sites and links, and the same as arrays. Compared and hashed by identity, so that results can be cached by it.

    S sites, N nodes (in the order of their sites), A arcs, P pools. An arc is one direction of a link that is up; a
    pool is the capacity that an arc draws on: a shared link has two arcs and one pool, a per-direction link two and
    two. There is at most one arc from one site to another.
    """

    sites: tuple[Site, ...]
    links: tuple[Link, ...] = ()
    nodes: tuple[Node, ...] = field(init=False, repr=False)
    site_index: Mapping[str, int] = field(init=False, repr=False)
    node_index: Mapping[str, int] = field(init=False, repr=False)
    node_site: Ints = field(init=False, repr=False)  # (N,) index of the node's site
    node_capacity: Ints = field(init=False, repr=False)  # (N, 2) CPU millicores, memory MiB
    arc_source: Ints = field(init=False, repr=False)  # (A,) site index
    arc_target: Ints = field(init=False, repr=False)  # (A,) site index
    arc_delay: Ints = field(init=False, repr=False)  # (A,) microseconds
    arc_pool: Ints = field(init=False, repr=False)  # (A,) pool index
    pool_capacity: Ints = field(init=False, repr=False)  # (P,) kbit/s
    pool_link: Ints = field(init=False, repr=False)  # (P,) index into `links`
    arc_index: Mapping[tuple[int, int], int] = field(init=False, repr=False)  # (source, target) → arc

    def __post_init__(self) -> None:
        sites, links = tuple(self.sites), tuple(self.links)
        nodes = tuple(node for site in sites for node in site.nodes)
        if not sites:
            raise ValueError("Topology: sites is empty; give at least one site")
        values.unique("Topology", "sites", (site.name for site in sites))
        values.unique("Topology", "nodes", (node.name for node in nodes))
        site_index = {site.name: index for index, site in enumerate(sites)}
        _set(
            self,
            sites=sites,
            links=links,
            nodes=nodes,
            site_index=MappingProxyType(site_index),
            node_index=MappingProxyType({node.name: index for index, node in enumerate(nodes)}),
            node_site=_ints([index for index, site in enumerate(sites) for _ in site.nodes]),
            node_capacity=_ints([(node.cpu_m, node.memory_mib) for node in nodes], 2),
            **_arcs(links, site_index),
        )

    def site_of(self, node: str) -> str:
        """The name of the site where the node of that name stands; KeyError if there is none."""
        return self.sites[int(self.node_site[self.node_index[node]])].name


def _arcs(links: tuple[Link, ...], site_index: Mapping[str, int]) -> dict[str, object]:
    """The arrays of arcs and pools of the links that are up."""
    arcs: list[tuple[int, int, int, int]] = []
    pools: list[tuple[int, int]] = []
    for number, link in enumerate(links):
        owner = f"Link {link.a} - {link.b}"
        a = site_index[values.known(owner, "a", link.a, site_index, "the sites")]
        b = site_index[values.known(owner, "b", link.b, site_index, "the sites")]
        if not link.bandwidth_kbps:
            continue
        arcs.append((a, b, link.delay_us, len(pools)))
        pools.append((link.bandwidth_kbps, number))
        if link.capacity is Capacity.PER_DIRECTION:
            pools.append((link.bandwidth_kbps, number))
        if link.capacity is not Capacity.ONE_WAY:
            arcs.append((b, a, link.delay_us, len(pools) - 1))
    index = {(a, b): arc for arc, (a, b, _, _) in enumerate(arcs)}
    if len(index) < len(arcs):
        twice = next(arc for number, arc in enumerate(arcs) if index[arc[:2]] != number)
        names = list(site_index)
        raise ValueError(
            f"Topology: links join {names[twice[0]]!r} to {names[twice[1]]!r} twice; merge parallel links into one"
        )
    source, target, delay, pool = _ints(arcs, 4).T
    capacity, pool_link = _ints(pools, 2).T
    return {
        "arc_source": source,
        "arc_target": target,
        "arc_delay": delay,
        "arc_pool": pool,
        "pool_capacity": capacity,
        "pool_link": pool_link,
        "arc_index": MappingProxyType(index),
    }


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
        object.__setattr__(self, "sites", _names(owner, "sites", self.sites))


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
    request has the reverse channel too, both follow the same sites (S001 eq. 11)."""

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
        object.__setattr__(self, "members", _names("Affinity", "members", self.members))
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
    opening: float = 0.0  # per point of S001 eq. 2
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


def _names(owner: str, field: str, names: Iterable[str]) -> frozenset[str]:
    if isinstance(names, str):
        raise ValueError(f"{owner}: {field} is the string {names!r}; give a set of names")
    return frozenset(values.name(owner, field, name) for name in names)


def _ints(rows: object, columns: int = 0) -> Ints:
    """A read-only int64 array; with `columns`, two-dimensional even when empty."""
    array = np.asarray(rows, dtype=np.int64)
    array = array.reshape(-1, columns) if columns else array
    array.setflags(write=False)
    return array
