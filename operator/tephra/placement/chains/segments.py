"""A* over runs: the best placement of a chain that visits no host twice. The first half of :mod:`.chain`.

A state is a host, the number of functions placed, the hosts visited; its estimate is what it cost so far and the
recursion of :mod:`.stages` for the rest, so the first complete placement taken from the queue is the best. What the
recursion cannot see is looked at lazily, only for the states that come first in the queue: whether a run packs into
the nodes of its host, what waking them and pulling images adds, and whether the paths have the bandwidth together. A
state found dearer goes back into the queue.

Where run costs are zero and all channels see one network, a run that goes as far as it can dominates the shorter ones
(whatever may follow those may follow it), and only it is expanded.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from tephra.placement.chains.crossings import Routed, route
from tephra.placement.chains.runs import Held, Packer, Run, State
from tephra.placement.chains.stages import Bounds, Stages
from tephra.placement.model import Policy
from tephra.placement.network import Floats

# Weights of the estimate, and steps: when the exact search gives up, greedier ones follow, which end soon or never.
EFFORTS = ((1.0, 3000), (1.5, 2000), (3.0, 1000), (10.0, 1000))
Options = Sequence[tuple[float, int]]  # estimates and what they are of, least first


def search(stages: Stages, found: Bounds, policy: Policy, packer: Packer) -> Routed | None:
    """The best complete placement, or the first found by greedier searches when the exact one takes too long."""
    for weight, steps in EFFORTS:
        queue = _Queue(stages, found, policy, packer, weight)
        best = queue.run(steps)
        if best is not None or not queue.heap:
            return best
    return None


class _Queue:
    """One best-first search. A step taken from the heap offers its followers, each with its estimate."""

    def __init__(self, stages: Stages, found: Bounds, policy: Policy, packer: Packer, weight: float) -> None:
        self.stages, self.found, self.packer, self.weight = stages, found, packer, weight
        self.heap: list[tuple[float, int, int, Callable[[], Routed | None]]] = []
        self.age = itertools.count()
        self.least: dict[tuple[int, int, frozenset[int]], float] = {}
        self.reach = stages.reach.copy()  # shortened by what did not pack
        one_network = len({id(leg.routes) for leg in stages.legs if leg}) < 2
        self.plain = one_network and not (stages.price.any() or policy.traffic or packer.by_node)

    def run(self, steps: int) -> Routed | None:
        """The first complete placement that comes out of the heap."""
        self._leave(State())
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
        i = state.placed
        away = self.stages.hops[i][state.runs[-1].host] if state.runs else self.stages.head
        options = _sorted(state.cost + away + self.weight * self.found.start[i])

        def take(host: int) -> bool:
            if host not in state.held:
                self._arrive(state, host, float(away[host]))
            return False

        self._offer(options, i, take)

    def _arrive(self, state: State, host: int, way: float) -> None:
        """Offer the ends of a run that begins on `host`."""
        stages, i, key = self.stages, state.placed, (host, state.placed, frozenset(state.held))
        cost = state.cost + way
        if self.least.get(key, np.inf) <= cost:
            return
        self.least[key] = cost
        ends = slice(i + 1, int(self.reach[i, host]) + 1)
        rest = stages.price[ends, host] - stages.price[i, host] + self.weight * self.found.rest[ends, host]
        options = _sorted(cost + float(stages.opening[host]) + rest[::-1])  # of equals the longest first

        def take(back: int) -> bool:
            run = Run(host, i, ends.stop - 1 - back)
            held = self._held(run)
            if held is not None:
                more = {**state.held, host: held}
                self._go(State(cost + held.cost, run.end, (*state.runs, run), more))
            return held is not None and self.plain

        self._offer(options, i, take)

    def _held(self, run: Run) -> Held | None:
        """The run packed; where it does not, longer ones and those that begin earlier do not."""
        if run.end > self.reach[run.begin, run.host]:
            return None
        held = self.packer.held(run.host, tuple(range(run.begin, run.end)))
        if held is None:
            reach = self.reach[: run.begin + 1, run.host]
            np.minimum(reach, run.end - 1, out=reach)
        return held

    def _go(self, state: State) -> None:
        """Put a state whose cost is now exact back into the heap."""
        if state.placed < len(self.stages.functions):
            rest = float(self.found.rest[state.placed, state.runs[-1].host])
            self._push(state.cost + self.weight * rest, state.placed, lambda: self._leave(state))
        elif (done := route(self.stages, state)) is not None:
            self._push(done.cost, state.placed, lambda: done)


def _sorted(estimates: Floats) -> Options:
    """(estimate, place in the array) of the finite ones, least first, equals in order."""
    order = np.argsort(estimates, kind="stable")
    order = order[: np.count_nonzero(estimates < np.inf)]
    return list(zip(estimates[order].tolist(), order.tolist(), strict=True))
