"""The network and its servers: sites, links, nodes with what they hold, and the same as arrays (:class:`Topology`).

Part of :mod:`tephra.placement.model`, which has the units and offers these names too. Loaded by :mod:`.topology_zoo`,
:mod:`.cluster_nodes` and :mod:`.documents`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tephra.placement import values

Ints = NDArray[np.int64]


class Capacity(StrEnum):
    """What the bandwidth of a link means; always stated, for the papers' program leaves it open."""

    ONE_WAY = "one-way"  # the link carries traffic from `a` to `b` only
    PER_DIRECTION = "per-direction"  # each direction has the full bandwidth (full duplex)
    SHARED = "shared"  # both directions together have it (radio, half duplex)


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
            object.__setattr__(self, names, values.names(owner, names, getattr(self, names)))


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
        fields = {
            "sites": sites,
            "links": links,
            "nodes": nodes,
            "site_index": MappingProxyType(site_index),
            "node_index": MappingProxyType({node.name: index for index, node in enumerate(nodes)}),
            "node_site": _ints([index for index, site in enumerate(sites) for _ in site.nodes]),
            "node_capacity": _ints([(node.cpu_m, node.memory_mib) for node in nodes], 2),
            **_arcs(links, site_index),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

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


def _ints(rows: object, columns: int = 0) -> Ints:
    """A read-only int64 array; with `columns`, two-dimensional even when empty."""
    array = np.asarray(rows, dtype=np.int64)
    array = array.reshape(-1, columns) if columns else array
    array.setflags(write=False)
    return array
