"""Vector packing: functions into the nodes of one site, so that CPU and memory hold on every node.

Greedy first, by the dot product of demand and what is free (Panigrahy et al., "Heuristics for Vector Bin Packing",
2011) and by best fit; where both fail, a depth-first search over all assignments, cut by what the nodes can still
take. The search counts its steps, not seconds, so the answer is the same on every machine. Used by :mod:`.chain`.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

Pair = tuple[int, int]  # CPU millicores, memory MiB
STEPS = 400  # of the search, before it gives up


class Packing(NamedTuple):
    """`nodes` gives the node of each function, None where no packing was found; `proved`: because there is none."""

    nodes: tuple[int, ...] | None
    proved: bool


def pack(
    demand: Sequence[Pair],
    free: Sequence[Pair],
    allowed: Sequence[Sequence[bool]],
    cost: Sequence[Sequence[float]] | None = None,
    steps: int = STEPS,
) -> Packing:
    """Put every function (rows of `demand`, `allowed`, `cost`) on one of the nodes (entries of `free`). The greedy
    ones take the cheapest node that has room; the search does not look at `cost`."""
    cpu, memory = max(1, sum(pair[0] for pair in demand)), max(1, sum(pair[1] for pair in demand))
    order = sorted(range(len(demand)), key=lambda item: -(demand[item][0] / cpu + demand[item][1] / memory))
    for rate in (_alignment, _tightness):
        nodes = _greedy(demand, free, allowed, order, rate, cost)
        if nodes is not None:
            return Packing(nodes, True)
    return _Search(demand, free, allowed, order, steps).run()


def _alignment(item: Pair, free: Pair, whole: Pair) -> float:
    """Cosine of demand and free capacity: a node whose leftovers have the shape of the function; most first."""
    a, b = free[0] / whole[0], free[1] / whole[1]
    dot = item[0] / whole[0] * a + item[1] / whole[1] * b
    return dot / max(1e-12, math.hypot(a, b))


def _tightness(item: Pair, free: Pair, whole: Pair) -> float:
    """Best fit: what is left is least."""
    return (item[0] - free[0]) / whole[0] + (item[1] - free[1]) / whole[1]


def _greedy(
    demand: Sequence[Pair],
    free: Sequence[Pair],
    allowed: Sequence[Sequence[bool]],
    order: Sequence[int],
    rate: Callable[[Pair, Pair, Pair], float],
    cost: Sequence[Sequence[float]] | None,
) -> tuple[int, ...] | None:
    left, nodes = list(free), [0] * len(demand)
    whole = (max(1, sum(pair[0] for pair in free)), max(1, sum(pair[1] for pair in free)))
    for item in order:
        cpu, memory = demand[item]
        best, best_rate = -1, (float("-inf"), 0.0)
        for node, (free_cpu, free_memory) in enumerate(left):
            if free_cpu >= cpu and free_memory >= memory and allowed[item][node]:
                rated = (-cost[item][node] if cost else 0.0, rate(demand[item], left[node], whole))
                if rated > best_rate:
                    best, best_rate = node, rated
        if best < 0:
            return None
        nodes[item] = best
        left[best] = (left[best][0] - cpu, left[best][1] - memory)
    return tuple(nodes)


class _Search:
    """Depth first over the functions, largest first; what the nodes have left is looked at once per depth."""

    def __init__(
        self,
        demand: Sequence[Pair],
        free: Sequence[Pair],
        allowed: Sequence[Sequence[bool]],
        order: Sequence[int],
        steps: int,
    ) -> None:
        self.demand, self.allowed, self.order, self.steps = demand, allowed, order, steps
        self.left = list(free)
        self.nodes = [0] * len(demand)
        self.alike = all(map(all, allowed))  # nodes differ by what they have left only
        self.failed = set[tuple[int, tuple[Pair, ...]]]()
        rest = [(0, 0)]  # what is still to be placed, and the least of it, by depth from the end
        least = [(1 << 62, 1 << 62)]
        for item in reversed(order):
            cpu, memory = demand[item]
            rest.append((rest[-1][0] + cpu, rest[-1][1] + memory))
            least.append((min(least[-1][0], cpu), min(least[-1][1], memory)))
        self.rest, self.least = rest[::-1], least[::-1]

    def run(self) -> Packing:
        found = self._place(0)
        if found:
            return Packing(tuple(self.nodes), True)
        return Packing(None, self.steps >= 0)

    def _place(self, depth: int) -> bool:
        if depth == len(self.order):
            return True
        self.steps -= 1
        if self.steps < 0 or not self._room(depth):
            return False
        state = depth, tuple(sorted(self.left) if self.alike else self.left)
        if state in self.failed:
            return False
        item = self.order[depth]
        cpu, memory = self.demand[item]
        for node in sorted(range(len(self.left)), key=self.left.__getitem__):
            before = self.left[node]
            if before[0] < cpu or before[1] < memory or not self.allowed[item][node]:
                continue
            self.left[node], self.nodes[item] = (before[0] - cpu, before[1] - memory), node
            if self._place(depth + 1):
                return True
            self.left[node] = before
            if self.steps < 0:
                return False
        self.failed.add(state)
        return False

    def _room(self, depth: int) -> bool:
        """Whether the sums of the leftovers hold what is left to place; leftovers too small for any count for none."""
        (cpu, memory), (least_cpu, least_memory) = self.rest[depth], self.least[depth]
        usable = [pair for pair in self.left if pair[0] >= least_cpu and pair[1] >= least_memory]
        return sum(pair[0] for pair in usable) >= cpu and sum(pair[1] for pair in usable) >= memory
