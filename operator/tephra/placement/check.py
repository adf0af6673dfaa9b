"""Whether a placement is right: every constraint, the objective recomputed, the bound below it.

Independent of all solvers: it shares no code with them and reads the model only (:mod:`tephra.placement.model`) and the
two arrays of what is free. Written for clarity, in plain Python; every test that gets a placement gives it to
:func:`violations`.
"""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise

from tephra.placement.model import Capacity, Function, Isolation, Link, Node, Placement, Policy, Request, Scope
from tephra.placement.residual import Residual

TOLERANCE = 1e-6  # relative, of the objective


def violations(residual: Residual, request: Request, policy: Policy, placement: Placement) -> tuple[str, ...]:
    """What is wrong with `placement` as the answer to `request` on `residual`; empty when nothing is."""
    if placement.request != request:
        return (f"it places {placement.request.name!r} and not the request {request.name!r} as it was asked",)
    view = _View(residual, policy, placement)
    wrong = tuple(view.assignment()) or tuple(view.paths()) or tuple(view.capacity())
    if wrong:  # without places, paths and the room for them nothing else can be said
        return wrong
    rules = (view.nodes, view.isolation, view.affinity, view.delays, view.bandwidth, view.bound)
    return tuple(text for rule in rules for text in rule())


def require(residual: Residual, request: Request, policy: Policy, placement: Placement) -> Placement:
    """The placement itself when it is right; AssertionError with every violation otherwise."""
    wrong = violations(residual, request, policy, placement)
    if wrong:
        raise AssertionError(f"placement of {request.name!r} by {placement.solver}: " + "; ".join(wrong))
    return placement


def objective(residual: Residual, policy: Policy, placement: Placement) -> float:
    """The objective of :mod:`tephra.placement.model`, of a placement whose assignment and paths are sound."""
    return _View(residual, policy, placement).objective()


@dataclass(frozen=True, slots=True)
class _Free:
    """CPU millicores and memory MiB of a node or site: capacity, and what of it is free."""

    capacity: tuple[int, int]
    free: tuple[int, int]

    def used_share(self, resource: int) -> float:
        return 1 - self.free[resource] / self.capacity[resource] if self.capacity[resource] else 1.0


class _View:
    """A placement seen beside the topology, by names. Each rule yields a sentence per violation."""

    def __init__(self, residual: Residual, policy: Policy, placement: Placement) -> None:
        topology = residual.topology
        self.residual, self.policy, self.placement, self.request = residual, policy, placement, placement.request
        self.nodes_by_name: dict[str, Node] = {node.name: node for node in topology.nodes}
        self.sites = {site.name for site in topology.sites}
        self.site_of = {node.name: site.name for site in topology.sites for node in site.nodes}
        self.functions: dict[str, Function] = {function.name: function for function in self.request.functions}
        self.endpoints = {endpoint.name: endpoint for endpoint in self.request.endpoints}
        self.free = {
            node.name: _Free((node.cpu_m, node.memory_mib), (int(free[0]), int(free[1])))
            for node, free in zip(topology.nodes, residual.node_free, strict=True)
        }
        self.guests = {topology.nodes[index].name: guests for index, guests in residual.guests.items()}
        self.arcs = _arcs(residual)

    # where things are

    def node_at(self, member: str) -> str:
        return self.placement.assignment[member] if member in self.functions else self.endpoints[member].node

    def site_at(self, member: str) -> str:
        endpoint = self.endpoints.get(member)
        return endpoint.site if endpoint else self.site_of[self.placement.assignment[member]]

    def on_node(self) -> Mapping[str, list[Function]]:
        """The request's functions on each node used."""
        here: dict[str, list[Function]] = defaultdict(list)
        for name, function in self.functions.items():
            here[self.placement.assignment[name]].append(function)
        return here

    # rules

    def assignment(self) -> Iterator[str]:
        for name in self.functions.keys() ^ self.placement.assignment.keys():
            yield f"function {name!r} is {'not assigned' if name in self.functions else 'assigned but not asked'}"
        for name, node in self.placement.assignment.items():
            if node not in self.nodes_by_name:
                yield f"function {name!r} is on node {node!r}, which does not exist"

    def paths(self) -> Iterator[str]:
        asked = {(channel.source, channel.target) for channel in self.request.channels}
        for ends in asked ^ self.placement.paths.keys():
            yield f"channel {ends} {'has no path' if ends in asked else 'was not asked'}"
        for ends in asked & self.placement.paths.keys():
            yield from self.path(ends, self.placement.paths[ends])

    def path(self, ends: tuple[str, str], path: tuple[str, ...]) -> Iterator[str]:
        if not path or (path[0], path[-1]) != (self.site_at(ends[0]), self.site_at(ends[1])):
            yield f"path {path} of channel {ends} does not join the sites of its ends"
        if len(set(path)) < len(path):
            yield f"path {path} of channel {ends} visits a site twice"
        for step in pairwise(path):
            if step not in self.arcs:
                yield f"path of channel {ends} takes {step}, where no link is up"
        reverse = self.placement.paths.get((ends[1], ends[0]))
        if reverse is not None and tuple(reverse) != tuple(reversed(path)):
            yield f"channel {ends} and its reverse take different paths"

    def nodes(self) -> Iterator[str]:
        for name, node in self.placement.assignment.items():
            function = self.functions[name]
            if function.compute_class not in self.nodes_by_name[node].classes:
                yield f"function {name!r} needs class {function.compute_class!r}, which node {node!r} has not"
            if function.sites and self.site_of[node] not in function.sites:
                yield f"function {name!r} is at {self.site_of[node]!r}, which is not among its sites"

    def capacity(self) -> Iterator[str]:
        for node, functions in self.on_node().items():
            for resource, field in enumerate(("cpu_m", "memory_mib")):
                demand = sum(getattr(function, field) for function in functions)
                free = _usable(self.free[node].capacity[resource], self.free[node].free[resource], self.policy)
                if demand > free:
                    yield f"node {node!r} has {free} {field} free, its functions need {demand}"

    def isolation(self) -> Iterator[str]:
        for node, functions in self.on_node().items():
            mine = [(function, self.request.tenant) for function in functions]
            all_here = mine + [(guest.function, guest.tenant) for guest in self.guests.get(node, ())]
            for (one, one_tenant), (other, other_tenant) in combinations(all_here, 2):
                asked = {one.isolation, other.isolation}
                apart = Isolation.TENANT in asked and one_tenant != other_tenant
                if (Isolation.EXCLUSIVE in asked or apart) and (one, one_tenant) in mine:
                    yield f"isolation forbids {one.name!r} and {other.name!r} together on node {node!r}"

    def affinity(self) -> Iterator[str]:
        for affinity in self.request.affinities:
            place: Callable[[str], str] = self.node_at if affinity.scope is Scope.NODE else self.site_at
            places = Counter(place(member) for member in affinity.members)
            if not affinity.anti and len(places) > 1:
                yield f"{sorted(affinity.members)} are not together at one {affinity.scope}"
            if affinity.anti and max(places.values()) > 1:
                yield f"two of {sorted(affinity.members)} are together at one {affinity.scope}"

    def delays(self) -> Iterator[str]:
        if self.request.anchor is not None:
            delay = _shortest(self.arcs, self.endpoints[self.request.anchor].site)
            for name, function in self.functions.items():
                bound, site = function.max_delay_us, self.site_at(name)
                if bound is not None and delay.get(site, math.inf) > bound:
                    yield f"function {name!r} at {site!r} is {delay.get(site, math.inf)} µs away, more than {bound}"
        total, limit = sum(map(self.path_delay, self.placement.paths.values())), self.request.max_path_us
        if limit is not None and total > limit:
            yield f"its paths take {total} µs in all, more than max_path_us {limit}"

    def bandwidth(self) -> Iterator[str]:
        used: Counter[int] = Counter()
        for channel in self.request.channels:
            for step in pairwise(self.placement.paths[channel.source, channel.target]):
                used[self.arcs[step][1]] += channel.bandwidth_kbps
        topology = self.residual.topology
        for pool, kbps in used.items():
            link = topology.links[int(topology.pool_link[pool])]
            free = _usable(link.bandwidth_kbps, int(self.residual.pool_free[pool]), self.policy)
            if kbps > free:
                yield f"link {link.a} - {link.b} has {free} kbit/s free, its channels need {kbps}"

    def bound(self) -> Iterator[str]:
        stated, true, bound = self.placement.objective, self.objective(), self.placement.lower_bound
        slack = TOLERANCE * max(1.0, abs(true))
        if not math.isfinite(stated) or abs(stated - true) > slack:
            yield f"objective is stated as {stated}, it is {true}"
        if not math.isfinite(bound) or bound > true + slack:
            yield f"lower bound {bound} is above the objective {true}"

    # objective

    def objective(self) -> float:
        policy = self.policy
        return (
            policy.latency * sum(map(self.path_delay, self.placement.paths.values()))
            + policy.opening * self.opening()
            + policy.acceptance * self.price()
            + policy.watts * self.watts()
            + policy.pull * self.pull()
            + policy.disruption * self.moved()
            + policy.traffic * self.traffic()
        )

    def path_delay(self, path: tuple[str, ...]) -> int:
        return sum(self.arcs[step][0] for step in pairwise(path))

    def at_site(self, site: str) -> _Free:
        here = [self.free[node] for node, at in self.site_of.items() if at == site]
        return _Free(
            (sum(free.capacity[0] for free in here), sum(free.capacity[1] for free in here)),
            (sum(free.free[0] for free in here), sum(free.free[1] for free in here)),
        )

    def opening(self) -> float:
        return sum(100 * (1 - self.at_site(site).used_share(0)) for site in set(map(self.site_at, self.functions)))

    def price(self) -> float:
        total = 0.0
        for name, function in self.functions.items():
            site = self.at_site(self.site_at(name))
            for resource, demand in enumerate((function.cpu_m, function.memory_mib)):
                if demand:
                    bid = self.policy.price_base ** site.used_share(resource) - 1
                    total += demand / site.capacity[resource] * bid
        return total

    def watts(self) -> float:
        total = 0.0
        for name, functions in self.on_node().items():
            node = self.nodes_by_name[name]
            if not node.awake and not self.guests.get(name):
                total += node.power.points[0][1]
            demand = sum(function.cpu_m for function in functions)
            if demand:
                total += (node.power.points[-1][1] - node.power.points[0][1]) * demand / node.cpu_m
        return total

    def pull(self) -> int:
        total = 0
        for name, functions in self.on_node().items():
            node, guests = self.nodes_by_name[name], self.guests.get(name, ())
            present = set(node.layers)
            for guest in guests:
                present |= {layer.digest for layer in guest.function.image.layers} if guest.function.image else set()
            wanted = {
                layer.digest: layer.mib
                for function in functions
                if function.image and function.image.name not in node.images
                for layer in function.image.layers
            }
            total += sum(mib for digest, mib in wanted.items() if digest not in present)
        return total

    def moved(self) -> int:
        moved = (name for name, node in self.request.running.items() if self.placement.assignment[name] != node)
        return sum(self.functions[name].memory_mib for name in moved)

    def traffic(self) -> float:
        topology, total = self.residual.topology, 0.0
        for channel in self.request.channels:
            for step in pairwise(self.placement.paths[channel.source, channel.target]):
                pool = self.arcs[step][1]
                capacity = topology.links[int(topology.pool_link[pool])].bandwidth_kbps
                used = 1 - int(self.residual.pool_free[pool]) / capacity
                total += channel.bandwidth_kbps * self.policy.price_base**used
        return total


def _usable(capacity: int, free: int, policy: Policy) -> int:
    """What of the free capacity the policy's headroom leaves."""
    return max(0, free - math.ceil(policy.headroom * capacity)) if policy.headroom else free


def _arcs(residual: Residual) -> dict[tuple[str, str], tuple[int, int]]:
    """(from, to) → (delay in µs, index of the pool), from the links themselves, counting pools as the model says."""
    arcs: dict[tuple[str, str], tuple[int, int]] = {}
    pools = 0
    for link in residual.topology.links:
        if link.bandwidth_kbps:
            arcs |= _directions(link, pools)
            pools += 2 if link.capacity is Capacity.PER_DIRECTION else 1
    return arcs


def _directions(link: Link, pool: int) -> dict[tuple[str, str], tuple[int, int]]:
    there = {(link.a, link.b): (link.delay_us, pool)}
    if link.capacity is Capacity.ONE_WAY:
        return there
    return there | {(link.b, link.a): (link.delay_us, pool + (link.capacity is Capacity.PER_DIRECTION))}


def _shortest(arcs: Mapping[tuple[str, str], tuple[int, int]], start: str) -> dict[str, int]:
    """Delay of the shortest paths from `start`, by Dijkstra."""
    near: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for (a, b), (delay, _) in arcs.items():
        near[a].append((b, delay))
    done: dict[str, int] = {}
    queue = [(0, start)]
    while queue:
        delay, site = heapq.heappop(queue)
        if site not in done:
            done[site] = delay
            for other, more in near[site]:
                heapq.heappush(queue, (delay + more, other))
    return done
