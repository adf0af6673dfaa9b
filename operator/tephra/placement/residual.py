"""The free capacity of a topology with placements in force: an immutable view, as arrays for the solvers.

Placing a request is ``residual.commit(placement)``, withdrawing it ``residual.release(placement)``; both return a new
view. Used by every solver and by :mod:`tephra.placement.simulate`; the checker does its own sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tephra.placement.model import Function, Image, Ints, Isolation, Node, Placement, Policy, Topology


class Guest(NamedTuple):
    """A function in force on a node."""

    request: str
    tenant: str
    function: Function


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """What is free: `node_free` (N, 2) CPU millicores and memory MiB, `pool_free` (P,) kbit/s, both read-only and in
    the order of the topology; `guests` by node index. Free capacity is never negative. `choosy` are the nodes with a
    guest that asks for isolation (derived from `guests` where it is not handed on)."""

    topology: Topology
    node_free: Ints = field(repr=False)
    pool_free: Ints = field(repr=False)
    guests: Mapping[int, tuple[Guest, ...]] = field(repr=False)
    choosy: frozenset[int] | None = field(repr=False, default=None)

    def __post_init__(self) -> None:
        if self.choosy is None:
            object.__setattr__(self, "choosy", frozenset(node for node, here in self.guests.items() if _isolated(here)))

    @classmethod
    def of(cls, topology: Topology) -> "Residual":
        """The residual of a topology with nothing placed on it."""
        return cls(topology, topology.node_capacity, topology.pool_capacity, MappingProxyType({}))

    def commit(self, placement: Placement) -> "Residual":
        """The residual with the placement in force; ValueError when it does not fit or is in force already."""
        changed = self._with(placement, -1)
        choosy = set(self.choosy or ())
        for free, names in ((changed.node_free, "node"), (changed.pool_free, "link")):
            if (free < 0).any():
                where = self._name(names, int(np.argwhere(free < 0)[0][0]))
                raise ValueError(f"Residual: {placement.request.name!r} does not fit {where}; solve on this residual")
        guests = dict(self.guests)
        for function in placement.request.functions:
            node = self.topology.node_index[placement.assignment[function.name]]
            here = guests.get(node, ())
            if any((guest.request, guest.function.name) == (placement.request.name, function.name) for guest in here):
                raise ValueError(f"Residual: {placement.request.name!r} is in force already; release it first")
            guests[node] = (*here, Guest(placement.request.name, placement.request.tenant, function))
            if function.isolation is not Isolation.NONE:
                choosy.add(node)
        guests_now = MappingProxyType(guests)
        return Residual(self.topology, changed.node_free, changed.pool_free, guests_now, frozenset(choosy))

    def release(self, placement: Placement) -> "Residual":
        """The residual without the placement; ValueError when it is not in force."""
        changed = self._with(placement, 1)
        guests = dict(self.guests)
        for function in placement.request.functions:
            node = self.topology.node_index[placement.assignment[function.name]]
            gone = (placement.request.name, function.name)
            left = tuple(guest for guest in guests.get(node, ()) if (guest.request, guest.function.name) != gone)
            if len(left) == len(guests.get(node, ())):
                raise ValueError(f"Residual: {placement.request.name!r} is not in force; commit it first")
            guests[node] = left
            if not left:
                del guests[node]
        choosy = frozenset(node for node in self.choosy or () if _isolated(guests.get(node, ())))
        return Residual(self.topology, changed.node_free, changed.pool_free, MappingProxyType(guests), choosy)

    def with_headroom(self, policy: Policy) -> "Residual":
        """The residual a solver may use: less the policy's share of every node and link, and never below 0."""
        if not policy.headroom:
            return self
        node_kept = np.ceil(policy.headroom * self.topology.node_capacity).astype(np.int64)
        pool_kept = np.ceil(policy.headroom * self.topology.pool_capacity).astype(np.int64)
        node_free, pool_free = np.maximum(self.node_free - node_kept, 0), np.maximum(self.pool_free - pool_kept, 0)
        return Residual(self.topology, _frozen(node_free), _frozen(pool_free), self.guests, self.choosy)

    def awake(self, node: int) -> bool:
        """Whether the node of that index is on, or will be for its guests."""
        return self.topology.nodes[node].awake or node in self.guests

    def admits(self, node: int, function: Function, tenant: str) -> bool:
        """Whether class, allowed sites and the isolation of all involved let the function onto the node, alone."""
        at = self.topology.nodes[node]
        site = self.topology.sites[int(self.topology.node_site[node])].name
        if function.compute_class not in at.classes or (function.sites and site not in function.sites):
            return False
        if function.isolation is Isolation.NONE and node not in (self.choosy or ()):
            return True
        return all(may_share(function, tenant, guest.function, guest.tenant) for guest in self.guests.get(node, ()))

    def missing_mib(self, node: int, images: tuple[Image, ...]) -> int:
        """MiB of the distinct layers of these images that the node would have to fetch."""
        at = self.topology.nodes[node]
        present = set(at.layers)
        for guest in self.guests.get(node, ()):
            present |= {layer.digest for layer in guest.function.image.layers} if guest.function.image else set()
        wanted = {layer.digest: layer.mib for image in images if not _has(at, image) for layer in image.layers}
        return sum(mib for digest, mib in wanted.items() if digest not in present)

    def _with(self, placement: Placement, sign: int) -> "Residual":
        """Demands of the placement added (`sign` 1) or taken (-1), without a look at guests."""
        node_free, pool_free = self.node_free.copy(), self.pool_free.copy()
        for function in placement.request.functions:
            node = self.topology.node_index[placement.assignment[function.name]]
            node_free[node] += sign * np.array((function.cpu_m, function.memory_mib))
        for channel in placement.request.channels:
            path = placement.paths[channel.source, channel.target]
            for arc in arcs_of(self.topology, path):
                pool_free[self.topology.arc_pool[arc]] += sign * channel.bandwidth_kbps
        return Residual(self.topology, _frozen(node_free), _frozen(pool_free), self.guests, self.choosy)

    def _name(self, kind: str, index: int) -> str:
        if kind == "node":
            return f"node {self.topology.nodes[index].name!r}"
        link = self.topology.links[int(self.topology.pool_link[index])]
        return f"link {link.a} - {link.b}"


def arcs_of(topology: Topology, path: tuple[str, ...]) -> list[int]:
    """The arcs of a path given by the names of its sites; KeyError where two of them are not joined."""
    at = [topology.site_index[site] for site in path]
    return [topology.arc_index[step] for step in pairwise(at)]


def may_share(one: Function, one_tenant: str, other: Function, other_tenant: str) -> bool:
    """Whether isolation lets two functions run on one node."""
    asked = {one.isolation, other.isolation}
    if Isolation.EXCLUSIVE in asked:
        return False
    return Isolation.TENANT not in asked or one_tenant == other_tenant


def _isolated(guests: tuple[Guest, ...]) -> bool:
    return any(guest.function.isolation is not Isolation.NONE for guest in guests)


def _has(node: Node, image: Image) -> bool:
    return image.name in node.images


def _frozen(array: Ints) -> Ints:
    array.setflags(write=False)
    return array
