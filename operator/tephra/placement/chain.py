"""Segment A*: a chain placed and routed, run by run, feasible down to the node, with a certified lower bound.

A state is a host, the number of functions placed, the hosts visited; its estimate is what it cost so far and the
recursion of :mod:`.stages` for the rest, so the first complete placement taken from the queue is the best of all that
visit no host twice. What the recursion cannot see is looked at lazily, only for the states that come first in the
queue: whether a run packs into the nodes of its host (:mod:`.packing`), what waking them and pulling images adds, and
whether the paths have the bandwidth together (:mod:`.network`). A state found dearer goes back into the queue.

Where run costs are zero, a run that goes as far as it can dominates the shorter ones (whatever may follow those may
follow it), and only it is expanded.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import perf_counter
from typing import NamedTuple

import numpy as np

from tephra.placement import network, objective
from tephra.placement.model import Isolation, Placement, Policy, Request
from tephra.placement.network import Floats
from tephra.placement.packing import pack
from tephra.placement.residual import Residual
from tephra.placement.shapes import Shape
from tephra.placement.stages import Bounds, Leg, Stages, bounds, compile_chain, lower_bound

SOLVER = "segment-a*"
# Weights of the estimate, and steps: when the exact search gives up, greedier ones follow, which end soon or never.
EFFORTS = ((1.0, 3000), (1.5, 600), (3.0, 600), (10.0, 600))
Options = Sequence[tuple[float, int]]  # estimates and what they are of, least first
ROUNDING = 1e-9  # relative: a smaller gap is that of floating point


class Unplaced(NamedTuple):
    """No placement was found; `proved`: because there is none."""

    proved: bool
    lower_bound: float
    milliseconds: float


class Run(NamedTuple):
    """Functions `begin`..`end - 1` on a host, each on its node (index into the topology); `cost` without paths."""

    host: int
    begin: int
    end: int
    nodes: tuple[int, ...]
    cost: float


class State(NamedTuple):
    """Functions before `placed` are placed, by `run` and those before it; `cost` is theirs and their channels'."""

    cost: float
    placed: int
    visited: int  # bit set of hosts
    run: Run | None = None
    before: "State | None" = None


class Routed(NamedTuple):
    """A complete placement: arcs of the channels that leave a host, by their place along the chain; the objective."""

    runs: tuple[Run, ...]
    paths: dict[int, list[int]]
    cost: float


def suits(request: Request) -> bool:
    """Whether this search knows every constraint of the request; the others are for the exact solver."""
    return (
        request.shape is Shape.CHAIN
        and not request.affinities
        and request.max_path_us is None
        and all(function.isolation is not Isolation.EXCLUSIVE for function in request.functions)
        and (len(request.functions) > 1 or len(request.channels) < 2)
    )


def place(residual: Residual, request: Request, policy: Policy) -> Placement | Unplaced:
    """The best placement of a chain that visits no host twice, as far as the search gets; ValueError for a request
    that does not suit."""
    began = perf_counter()
    if not suits(request):
        raise ValueError(
            f"Request {request.name}: {SOLVER} is for chains without affinities, exclusive isolation or a bound on the"
            " path; choose solver auto"
        )
    if not residual.topology.nodes:
        return Unplaced(True, np.inf, (perf_counter() - began) * 1000)
    stages = compile_chain(residual, request, policy)
    found = bounds(stages)
    bound = lower_bound(stages, found)
    best = search(stages, found, policy) if bound < np.inf else None
    if best is None:
        return Unplaced(bound == np.inf, bound, (perf_counter() - began) * 1000)
    return _placement(stages, request, best, bound, began)


def search(stages: Stages, found: Bounds, policy: Policy) -> Routed | None:
    """The best complete placement, or the first found by greedier searches when the exact one takes too long."""
    for weight, steps in EFFORTS:
        queue = _Queue(stages, found, policy, weight)
        best = queue.run(steps)
        if best is not None or not queue.heap:
            return best
    return None


class _Queue:
    """One best-first search. A step taken from the heap offers its followers, each with its estimate."""

    def __init__(self, stages: Stages, found: Bounds, policy: Policy, weight: float) -> None:
        self.stages, self.found, self.policy, self.weight = stages, found, policy, weight
        self.heap: list[tuple[float, int, int, Callable[[], Routed | None]]] = []
        self.age = itertools.count()
        self.least: dict[tuple[int, int, int], float] = {}
        self.known: dict[tuple[int, int, int], Run | None] = {}
        self.reach = stages.reach.copy()  # shortened by what does not pack
        self.by_node = bool(policy.watts or policy.pull or policy.disruption)
        self.plain = not (stages.price.any() or policy.traffic or self.by_node)

    def run(self, steps: int) -> Routed | None:
        """The first complete placement that comes out of the heap."""
        self._leave(State(0.0, 0, 0))
        for _ in range(steps):
            if not self.heap:
                return None
            if (done := heapq.heappop(self.heap)[3]()) is not None:
                return done
        return None

    def _push(self, estimate: float, placed: int, step: Callable[[], Routed | None]) -> None:
        heapq.heappush(self.heap, (estimate, -placed, next(self.age), step))

    def _offer(self, options: Options, placed: int, take: Callable[[int], bool], at: int = 0) -> None:
        """Put the option at `at` into the heap; when its turn comes, the next one follows unless `take` says that
        they are dominated."""
        if at == len(options):
            return

        def step() -> None:
            if not take(options[at][1]):
                self._offer(options, placed, take, at + 1)

        self._push(options[at][0], placed, step)

    def _leave(self, state: State) -> None:
        """Offer the hosts of the next run."""
        stages, i = self.stages, state.placed
        away = stages.hops[i][state.run.host] if state.run else stages.head
        options = _sorted(state.cost + away + self.weight * self.found.start[i])

        def take(host: int) -> bool:
            if not state.visited >> host & 1:
                self._arrive(state, host, float(away[host]))
            return False

        self._offer(options, i, take)

    def _arrive(self, state: State, host: int, way: float) -> None:
        """Offer the ends of a run that begins on `host`."""
        stages, i, key = self.stages, state.placed, (host, state.placed, state.visited)
        cost = state.cost + way
        if self.least.get(key, np.inf) <= cost:
            return
        self.least[key] = cost
        ends = slice(i + 1, int(self.reach[i, host]) + 1)
        rest = stages.price[ends, host] - stages.price[i, host] + self.weight * self.found.rest[ends, host]
        options = _sorted(cost + float(stages.opening[host]) + rest[::-1])  # of equals the longest first

        def take(back: int) -> bool:
            end = ends.stop - 1 - back
            run = self._packed(host, i, end)
            if run is not None:
                self._go(State(cost + run.cost, end, state.visited | 1 << host, run, state))
            return run is not None and self.plain

        self._offer(options, i, take)

    def _go(self, state: State) -> None:
        """Put a state whose cost is now exact back into the heap."""
        assert state.run is not None
        rest = float(self.found.rest[state.placed, state.run.host])
        if state.placed < len(self.stages.functions):
            self._push(state.cost + self.weight * rest, state.placed, lambda: self._leave(state))
        elif (done := _route(self.stages, state)) is not None:
            self._push(done.cost, state.placed, lambda: done)

    def _packed(self, host: int, begin: int, end: int) -> Run | None:
        key = (host, begin, end)
        if key not in self.known:
            self.known[key] = self._pack(*key) if end <= self.reach[begin, host] else None
        return self.known[key]

    def _pack(self, host: int, begin: int, end: int) -> Run | None:
        """The run on the nodes of the host; where it does not fit, longer ones and those that begin earlier do not."""
        stages, first = self.stages, int(self.stages.first[host])
        nodes = slice(first, int(stages.first[host + 1]))
        packing = pack(
            list(map(tuple, stages.demand[begin:end].tolist())),
            list(map(tuple, stages.residual.node_free[nodes].tolist())),
            stages.allowed[begin:end, nodes].tolist(),
            stages.terms.place[list(stages.rank[begin:end]), nodes].tolist() if self.by_node else None,
        )
        if packing.nodes is None:
            self.reach[: begin + 1, host] = np.minimum(self.reach[: begin + 1, host], end - 1)
            return None
        chosen = tuple(first + node for node in packing.nodes)
        cost = float(stages.opening[host] + stages.price[end, host] - stages.price[begin, host])
        return Run(host, begin, end, chosen, self._cost_by_node(host, begin, chosen) if self.by_node else cost)

    def _cost_by_node(self, host: int, begin: int, nodes: tuple[int, ...]) -> float:
        """The cost of a run where it depends on the nodes: wake-ups, images, moves."""
        terms, residual, site = self.stages.terms, self.stages.residual, int(self.stages.hosts[host])
        used, rank = sorted(set(nodes)), self.stages.rank[begin : begin + len(nodes)]
        cost = float(terms.opening[site] + terms.wake[used].sum() + terms.place[list(rank), list(nodes)].sum())
        for node in used if self.policy.pull else ():
            here = (self.stages.functions[begin + place] for place, at in enumerate(nodes) if at == node)
            cost += self.policy.pull * residual.missing_mib(node, objective.images(here))
        return cost


def _sorted(estimates: Floats) -> Options:
    """(estimate, place in the array) of the finite ones, least first, equals in order."""
    order = np.argsort(estimates, kind="stable")
    known = np.flatnonzero(estimates[order] < np.inf)
    order = order[: len(known)]
    return list(zip(estimates[order].tolist(), order.tolist(), strict=True))


def _route(stages: Stages, state: State) -> Routed | None:
    """Paths for a complete placement, with bandwidth for all together; None where none were found."""
    runs = _runs(state)
    sites = {run.begin: int(stages.hosts[run.host]) for run in runs}
    ends = [stages.ends[0], *sites.values(), stages.ends[1]]
    channels = {
        place: (one, other)
        for place, (one, other) in zip([*sites, len(stages.functions)], pairwise(ends), strict=True)
        if stages.legs[place] is not None and one != other
    }
    paths = {place: _leg(stages, place).routes.path(*way) for place, way in channels.items()}
    if not _fits(stages, paths):
        paths = _reroute(stages, channels)
    if len(paths) < len(channels):
        return None
    return Routed(runs, paths, sum(run.cost for run in runs) + sum(_path_cost(stages, *item) for item in paths.items()))


def _runs(state: State | None) -> tuple[Run, ...]:
    found = []
    while state is not None and state.run is not None:
        found.append(state.run)
        state = state.before
    return tuple(found[::-1])


def _leg(stages: Stages, place: int) -> Leg:
    leg = stages.legs[place]
    assert leg is not None
    return leg


def _weights(stages: Stages, kbps: int) -> Floats:
    return stages.terms.delay + kbps * stages.terms.kbps


def _path_cost(stages: Stages, place: int, path: list[int]) -> float:
    return float(_weights(stages, _leg(stages, place).channel.bandwidth_kbps)[path].sum())


def _fits(stages: Stages, paths: dict[int, list[int]]) -> bool:
    free = stages.residual.pool_free.copy()
    for place, path in paths.items():
        np.subtract.at(free, stages.residual.topology.arc_pool[path], _leg(stages, place).channel.bandwidth_kbps)
    return bool((free >= 0).all())


def _reroute(stages: Stages, channels: dict[int, tuple[int, int]]) -> dict[int, list[int]]:
    """Channel by channel, the widest first, on what those before have left; stops at one that finds no way."""
    topology, free, paths = stages.residual.topology, stages.residual.pool_free.copy(), dict[int, list[int]]()
    for place in sorted(channels, key=lambda place: -_leg(stages, place).channel.bandwidth_kbps):
        kbps = _leg(stages, place).channel.bandwidth_kbps
        weights = np.where(free[topology.arc_pool] >= kbps, _weights(stages, kbps), np.inf)
        found = network.fresh(topology, weights)
        if not found.reaches(*channels[place]):
            break
        paths[place] = found.path(*channels[place])
        np.subtract.at(free, topology.arc_pool[paths[place]], kbps)
    return paths


def _placement(stages: Stages, request: Request, best: Routed, bound: float, began: float) -> Placement:
    topology, names = stages.residual.topology, [function.name for function in stages.functions]
    nodes = [node for run in best.runs for node in run.nodes]
    bound = best.cost if best.cost - bound <= ROUNDING * best.cost else bound
    return Placement(
        request=request,
        assignment={name: topology.nodes[node].name for name, node in zip(names, nodes, strict=True)},
        paths=_named_paths(stages, best, nodes),
        objective=best.cost,
        lower_bound=bound,
        solver=SOLVER,
        milliseconds=(perf_counter() - began) * 1000,
        explanation=tuple(
            f"{topology.sites[int(stages.hosts[run.host])].name}: {names[run.begin]} to {names[run.end - 1]}"
            for run in best.runs
        ),
    )


def _named_paths(stages: Stages, best: Routed, nodes: list[int]) -> dict[tuple[str, str], tuple[str, ...]]:
    """(source, target) of every channel → names of the sites of its path, both ends included."""
    topology = stages.residual.topology
    named = {}
    for place, leg in enumerate(stages.legs):
        if leg is not None:
            site = int(topology.node_site[nodes[min(place, len(nodes) - 1)]])
            path = best.paths.get(place)
            at = [int(topology.arc_source[path[0]]), *topology.arc_target[path].tolist()] if path else [site]
            named[leg.channel.source, leg.channel.target] = tuple(topology.sites[index].name for index in at)
    return named
