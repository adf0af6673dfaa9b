"""Best-first search over all placements of a chain, hosts visited again included: the second half of :mod:`.chain`.

It starts from the placement that :mod:`.segments` found and looks only at what may cost less, so it ends with a better
one, or with the proof that there is none, or when its steps are spent: then no placement costs less than the least
estimate still in the queue, which is a certified bound too. A host that is visited again must hold all its functions
together; states at one place along the chain whose hosts hold the same demands are one state.
"""

import heapq
import itertools
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import numpy as np

from tephra.placement.chains.crossings import Routed, route
from tephra.placement.chains.runs import Packer, Run, State
from tephra.placement.chains.stages import Bounds, Stages, opened_first

ROUNDING = 1e-9  # relative: costs that differ less are one cost


class Arrival(NamedTuple):
    """A state about to begin a run on `host`; `way` is the cost of the channel there."""

    state: State
    host: int
    way: float


def improve(
    stages: Stages, found: Bounds, packer: Packer, best: Routed | None, steps: int
) -> tuple[Routed | None, float]:
    """A better placement than `best` if there is one, else `best`; and a lower bound. `packer` must know no costs by
    node, for those are not exact."""
    search = _Search(stages, found, packer, np.inf if best is None else best.cost)
    better = search.run(steps)
    best = better or best
    return best, min(search.bound, np.inf if best is None else best.cost)


class _Search:
    def __init__(self, stages: Stages, found: Bounds, packer: Packer, cost: float) -> None:
        self.stages, self.packer, self.limit = stages, packer, cost * (1 - ROUNDING)
        # what is still to come, by runs done: 0, 1, 2 and more
        self.ahead = opened_first(stages, found)
        self.heap: list[tuple[float, int, int, Arrival | Routed]] = []
        self.age = itertools.count()
        self.tried = 0
        self.least: dict[Hashable, float] = {}
        self.bound = np.inf  # below it is only what was dropped without proof, or not looked at
        self.demand: list[tuple[int, int]] = [(cpu, memory) for cpu, memory in stages.demand.tolist()]
        self.room = stages.room.tolist()
        kinds = [(f.cpu_m, f.memory_mib, f.compute_class, f.sites, f.isolation) for f in stages.functions]
        self.kind = [kinds.index(kind) for kind in kinds]

    def run(self, steps: int) -> Routed | None:
        """The least complete placement below the limit, None if none was found; sets `bound`."""
        self._leave(State())
        while self.heap and self.tried < steps:
            estimate, _, _, entry = heapq.heappop(self.heap)
            if isinstance(entry, Routed):
                self._drop(estimate)
                return entry
            self._arrive(entry, estimate)
        self._drop(self.heap[0][0] if self.heap else np.inf)
        return None

    def _drop(self, estimate: float) -> None:
        self.bound = min(self.bound, estimate)

    def _push(self, estimate: float, placed: int, entry: Arrival | Routed) -> None:
        heapq.heappush(self.heap, (estimate, -placed, next(self.age), entry))

    def _leave(self, state: State) -> None:
        """Put the hosts of the next run into the heap. The first two are opened, others if they hold nothing."""
        stages, done = self.stages, min(len(state.runs), 2)
        away = stages.hops[state.placed][state.runs[-1].host] if state.runs else stages.head
        estimates = state.cost + away + self.ahead[done].start[state.placed]
        if done == 2 and stages.opening.any():
            fresh = np.ones(len(stages.opening), dtype=bool)
            fresh[list(state.held)] = False
            estimates += stages.opening * fresh
        for host in np.flatnonzero(estimates < self.limit).tolist():
            self._push(float(estimates[host]), state.placed, Arrival(state, host, float(away[host])))

    def _arrive(self, arrival: Arrival, estimate: float) -> None:
        """Every end of the run."""
        state, host, way = arrival
        before = state.held.get(host)
        cost = state.cost + way - (before.cost if before else 0.0)
        key = self._key(state, host)
        if self.least.get(key, np.inf) <= state.cost + way:
            return
        self.least[key] = state.cost + way
        already = before.items if before else ()
        for end, least in self._ends(state, host, already):
            self.tried += 1
            items = (*already, *range(state.placed, end))
            if cost + least >= self.limit:
                continue
            held = self.packer.held(host, items)
            if held is None:  # nor do longer ones
                if (host, items) in self.packer.doubtful:
                    self._drop(estimate)
                return
            runs = (*state.runs, Run(host, state.placed, end))
            self._go(State(cost + held.cost, end, runs, {**state.held, host: held}), estimate)

    def _ends(self, state: State, host: int, items: tuple[int, ...]) -> Iterator[tuple[int, float]]:
        """The ends that the sums of CPU and memory allow, with the least cost of the host and of what follows."""
        stages, begin = self.stages, state.placed
        rest = self.ahead[min(len(state.runs) + 1, 2)].rest
        cpu, memory = (room - sum(self.demand[item][r] for item in items) for r, room in enumerate(self.room[host]))
        opened = float(stages.opening[host] + self.packer.price(host, items))
        for end in range(begin + 1, int(stages.reach[begin, host]) + 1):
            cpu, memory = cpu - self.demand[end - 1][0], memory - self.demand[end - 1][1]
            if cpu < 0 or memory < 0:
                return
            price = float(stages.price[end, host] - stages.price[begin, host])
            yield end, opened + price + float(rest[end, host])

    def _go(self, state: State, estimate: float) -> None:
        if state.placed < len(self.stages.functions):
            self._leave(state)
            return
        done = route(self.stages, state)
        cost = state.cost + float(self.stages.tail[state.runs[-1].host])
        if done is None or done.cost > cost * (1 + ROUNDING):
            self._drop(max(estimate, cost))  # paths crowd: others might do with less
        if done is not None and done.cost < self.limit:
            self._push(done.cost, state.placed, done)

    def _key(self, state: State, host: int) -> Hashable:
        held = ((at, tuple(sorted(self.kind[item] for item in here.items))) for at, here in state.held.items())
        return host, state.placed, frozenset(held)
