"""What the rest of a partial map will cost: the guess that ranks the maps of :mod:`.beam`, and a bound for all.

The guess sets every function not yet placed where its flows to the placed ones (and to the one about to be placed) are
cheapest, each for itself. It looks at what is free before the request, where a link without room for the request's
median flow counts :data:`DETOUR` times: a guess, not a bound. :func:`lower_bound` is one: no placement costs less.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tephra.placement import routes
from tephra.placement.graphs.instance import NONE, Bools, Floats, Flow, Instance
from tephra.placement.model import Ints, Scope

DETOUR = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Guide:
    """H hosting sites: those where some function may run."""

    instance: Instance
    hosts: Ints  # (H,) site indices
    alone: Floats  # (F, H) least node cost of the function at the site, inf where it may not run
    delay: Floats  # (H, H) latency price of one channel between hosting sites
    carry: Floats  # (H, H) traffic price of one kbit/s between hosting sites
    apart: Bools  # (F, F) the two never share a site
    richness: Floats  # (H,) free CPU times free bandwidth around

    @classmethod
    def of(cls, instance: Instance) -> "Guide":
        """The guide of a request."""
        topology = instance.topology
        alone = _alone(instance)
        hosts = np.flatnonzero(np.isfinite(alone).any(axis=0))
        delays, prices = instance.adds.delay, instance.adds.kbps
        bandwidth = np.zeros(len(topology.sites))
        np.add.at(bandwidth, topology.arc_source, instance.pool_free[topology.arc_pool])
        cpu = np.bincount(topology.node_site, weights=instance.free[:, 0], minlength=len(topology.sites))
        return cls(
            instance,
            hosts,
            alone[:, hosts],
            _between(instance, hosts, delays),
            _between(instance, hosts, prices),
            _apart(instance),
            (cpu * bandwidth)[hosts],
        )

    def cost(self, flow: Flow, host: int | slice = slice(None)) -> Floats:
        """(H, H) what a flow between two hosting sites is guessed to cost, or (H,) from one of them."""
        channels = (flow.out > NONE) + (flow.back > NONE)
        kbps = max(flow.out, 0) + max(flow.back, 0)
        return channels * self.delay[host] + kbps * self.carry[host] if kbps else channels * self.delay[host]

    def start(self) -> Floats:
        """(F, H) what each function costs with nothing placed but the endpoints."""
        attach = self.alone.copy()
        for flow in self.instance.flows:
            if flow.b >= self.instance.count:
                attach[flow.a] += self._from_endpoint(flow.b, flow.back, flow.out)
            elif flow.a >= self.instance.count:
                attach[flow.b] += self._from_endpoint(flow.a, flow.out, flow.back)
        return attach

    def placed(self, attach: Floats, function: int, host: int) -> None:
        """Bring `attach` (F, H) up to date, in place, with `function` at `host` (an index of hosts)."""
        attach[self.apart[function], host] = np.inf
        for flow in self.instance.flows:
            if function in (flow.a, flow.b) and max(flow.a, flow.b) < self.instance.count:
                attach[flow.b if flow.a == function else flow.a] += self.cost(flow, host)

    def rest(self, function: int, attach: Floats, unplaced: Sequence[int]) -> Floats:
        """(B, H) the guess for the functions `unplaced`, of B maps with `attach` (B, F, H), by where `function` is."""
        joined = {flow.b if flow.a == function else flow.a: flow for flow in self._flows(function)}
        guess = np.zeros((len(attach), len(self.hosts)))
        for other in unplaced:
            if other in joined:
                between = self.cost(joined[other])
                if self.apart[function, other]:
                    between = between + np.diag(np.full(len(between), np.inf))
                guess += (attach[:, other, None, :] + between[None]).min(axis=2, initial=np.inf)
            else:
                guess += attach[:, other].min(axis=1, initial=np.inf)[:, None]
        return guess

    def _flows(self, function: int) -> list[Flow]:
        return [flow for flow in self.instance.flows if function in (flow.a, flow.b)]

    def _from_endpoint(self, endpoint: int, out: int, back: int) -> Floats:
        """(H,) least cost of a flow from an endpoint to the hosting sites; inf where no links with room lead there."""
        instance = self.instance
        source = instance.endpoint_site[endpoint - instance.count : endpoint - instance.count + 1]
        weights = instance.weights(np.array([out]), np.array([back]), instance.pool_free[None])
        return np.asarray(routes.distances(instance.topology, source, weights)[0][self.hosts])


def lower_bound(guide: Guide) -> float:
    """A bound on the objective of every placement of the request: each function and flow at its cheapest by itself."""
    instance, attach = guide.instance, guide.start()
    nearest = np.where(np.isfinite(attach), attach, np.inf).min(axis=1, initial=np.inf)
    least = float(nearest.sum()) * (1 - 1e-7)  # less the weight that routes add per hop
    step = instance.adds.delay
    for flow in instance.flows:
        if max(flow.a, flow.b) < instance.count and guide.apart[flow.a, flow.b] and len(step):
            kbps, channels = max(flow.out, 0) + max(flow.back, 0), (flow.out > NONE) + (flow.back > NONE)
            least += float((step * channels + kbps * instance.adds.kbps)[instance.real].min(initial=np.inf))
    return least if np.isfinite(least) else 0.0


def _alone(instance: Instance) -> Floats:
    """(F, S) least cost of a node that admits the function, inf where a site has none."""
    alone = np.full((instance.count, len(instance.topology.sites)), np.inf)
    cost = np.where(instance.allowed, instance.adds.place, np.inf)
    for node, site in enumerate(instance.topology.node_site):
        alone[:, site] = np.minimum(alone[:, site], cost[:, node])
    return alone


def _between(instance: Instance, hosts: Ints, weights: Floats) -> Floats:
    """(H, H) least weight between hosting sites; links without room for the median flow count DETOUR times."""
    if not weights.any():
        return np.zeros((len(hosts), len(hosts)))
    flows = [max(flow.out, 0) + max(flow.back, 0) for flow in instance.flows]
    tight = instance.pool_free[instance.topology.arc_pool] < (np.median(flows) if flows else 0)
    weights = np.where(instance.real, np.where(tight, DETOUR, 1.0) * weights, np.inf)
    rows = np.broadcast_to(weights, (len(hosts), len(weights)))
    return np.asarray(routes.distances(instance.topology, hosts, rows)[:, hosts])


def _apart(instance: Instance) -> Bools:
    """(F, F) pairs that never share a site: by affinity, or since no site has two nodes and no node takes both."""
    apart = np.zeros((instance.count, instance.count), dtype=bool)
    sites = instance.topology.node_site
    lonely = len(np.unique(sites)) == len(sites)
    if lonely:
        apart |= instance.conflict
    for group in instance.groups:
        if group.anti and (lonely or group.scope is Scope.SITE):
            members = [member for member in group.members if member < instance.count]
            apart[np.ix_(members, members)] = True
    np.fill_diagonal(apart, False)
    return apart
