"""Phase I of SF-CUV: which functions belong together, and a first vCPU for each cluster. Neighbour: `sf_cuv`.

After Kanemitsu, Kanai, Katto, Nakazato, J. Supercomputing 77(11), 2021, as its public code (ncl_sfcsim) tells it. A
cluster counts as run one function after the other; its level is the time to its first function, plus all of it, plus
the longest way on from its last one.
"""

from tephra.placement.schedule.levels import bottom_levels, top_levels
from tephra.placement.schedule.problem import Problem


def cluster_vcpus(problem: Problem) -> list[int]:
    """The vCPU of each task's cluster."""
    clustering = _Clustering(problem)
    while clustering.open:
        clustering.step()
    return [clustering.vcpu[cluster] for cluster in clustering.cluster]


class _Clustering:
    """The clusters, by number; `open` are those not fixed to a vCPU for good yet."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._top, self._bottom = top_levels(problem), bottom_levels(problem)
        self.cluster = list(range(len(problem.tasks)))
        self._members = {number: {number} for number in self.cluster}
        self._below_task = _descendants(problem)
        self.open = set(self.cluster)
        self.vcpu: dict[int, int] = {}

    def step(self) -> None:
        """Let the ready cluster of the largest level absorb a neighbour, or fix it."""
        mine = max(self._ready(), key=lambda cluster: (self._level(cluster), -cluster))
        other = self._below(mine)
        if other is None:
            other = self._above(mine)
        if other is None:
            self._fix(mine)
        else:
            self._merge(mine, other)

    def _ready(self) -> set[int]:
        """Open clusters whose predecessors are fixed; all open ones where clusters wait for each other."""

        def is_ready(cluster: int) -> bool:
            return not any(self.cluster[source] in self.open for source, _ in self._entering(cluster))

        return set(filter(is_ready, self.open)) or self.open

    def _entering(self, cluster: int) -> list[tuple[int, int]]:
        return [(s, t) for s, t in self._problem.transfer if self.cluster[t] == cluster != self.cluster[s]]

    def _leaving(self, cluster: int) -> list[tuple[int, int]]:
        return [(s, t) for s, t in self._problem.transfer if self.cluster[s] == cluster != self.cluster[t]]

    def _below(self, mine: int) -> int | None:
        """The cluster of the successor that dominates the bottom level, if joining it does not raise the level."""
        edge = self._way_on(mine)[1]
        if edge is None:
            return None
        other = self.cluster[edge[1]]
        joined = self._start(mine) + self._length(mine) + self._way_on(other)[0]
        return other if joined <= self._level(mine) else None

    def _above(self, mine: int) -> int | None:
        """The cluster that the first function is reached from last: if single, or if the level does not rise."""
        edge = self._dominant_entering(mine)
        if edge is None:
            return None
        other = self.cluster[edge[0]]
        joined = self._start(other) + self._length(other) + self._way_on(mine)[0]
        return other if len(self._members[other]) == 1 or joined <= self._level(mine) else None

    def _way_on(self, cluster: int) -> tuple[float, tuple[int, int] | None]:
        """The longest time from the cluster's start to the workflow's end, and by which edge it leaves, if it does."""
        ways: list[tuple[float, tuple[int, int] | None]] = [(self._length(cluster), None)]
        for source, target in self._leaving(cluster):
            travel = self._problem.mean_transfer[source, target]
            ways.append((self._until(source) + travel + self._bottom[target], (source, target)))
        return max(ways, key=lambda way: way[0])

    def _until(self, task: int) -> float:
        """The cluster's functions up to the task's end, if all that need not follow it come before."""
        return sum(self._takes(other) for other in self._members[self.cluster[task]] - self._below_task[task])

    def _dominant_entering(self, cluster: int) -> tuple[int, int] | None:
        """The edge by which its first function is reached last; None where that is an entry."""
        first = self._first(cluster)
        way = {s: self._end(s) + self._problem.mean_transfer[s, first] for s in self._problem.predecessors[first]}
        return (max(way, key=lambda source: way[source]), first) if way else None

    def _level(self, cluster: int) -> float:
        return self._start(cluster) + self._way_on(cluster)[0]

    def _start(self, cluster: int) -> float:
        """When its first function may start."""
        return self._top[self._first(cluster)]

    def _first(self, cluster: int) -> int:
        return min(self._members[cluster], key=lambda task: (self._top[task], task))

    def _length(self, cluster: int) -> float:
        return sum(self._takes(task) for task in self._members[cluster])

    def _takes(self, task: int) -> float:
        vcpu = self.vcpu.get(self.cluster[task])
        return self._problem.mean_duration[task] if vcpu is None else self._problem.duration[task][vcpu]

    def _end(self, task: int) -> float:
        return self._top[task] + self._takes(task)

    def _merge(self, mine: int, other: int) -> None:
        """The merged cluster keeps a vCPU that one of them has."""
        for task in self._members[other]:
            self.cluster[task] = mine
        self._members[mine] |= self._members.pop(other)
        if other in self.vcpu:
            self.vcpu[mine] = self.vcpu.pop(other)
        self.open.discard(other)

    def _fix(self, cluster: int) -> None:
        self.open.discard(cluster)
        if cluster not in self.vcpu:
            free = set(range(len(self._problem.vcpus))) - set(self.vcpu.values())
            choice = free if free and not self._entering(cluster) else range(len(self._problem.vcpus))
            self.vcpu[cluster] = min(choice, key=lambda vcpu: (self._cost(cluster, vcpu), vcpu))
        clock = self._start(cluster)
        for task in self._inner_order(cluster):
            self._top[task] = clock
            clock += self._takes(task)
        for target in {target for _, target in self._leaving(cluster)}:
            self._top[target] = max(
                self._end(source) + self._problem.mean_transfer[source, target]
                for source in self._problem.predecessors[target]
            )

    def _inner_order(self, cluster: int) -> list[int]:
        return [task for task in self._problem.topological if task in self._members[cluster]]

    def _cost(self, cluster: int, vcpu: int) -> float:
        """Time planned on the vCPU, incoming transfer, the cluster itself, outgoing transfer."""
        planned = sum(self._length(other) for other, on in self.vcpu.items() if on == vcpu)
        own = sum(self._problem.duration[task][vcpu] for task in self._members[cluster])
        entering, leaving = self._dominant_entering(cluster), self._way_on(cluster)[1]
        into = self._travel(entering, entering[0], vcpu) if entering else 0.0
        out = self._travel(leaving, leaving[1], vcpu) if leaving else 0.0
        return planned + into + own + out

    def _travel(self, edge: tuple[int, int], other_end: int, vcpu: int) -> float:
        """An edge's transfer between the vCPU and where its other end is: a mean as long as that is open."""
        peer = self.vcpu.get(self.cluster[other_end])
        if peer is None:
            return self._problem.mean_transfer[edge]
        return self._problem.transfer[edge][self._problem.vm[peer]][self._problem.vm[vcpu]]


def _descendants(problem: Problem) -> list[set[int]]:
    below: list[set[int]] = [set() for _ in problem.tasks]
    for task in reversed(problem.topological):
        for target in problem.successors[task]:
            below[task] |= {target} | below[target]
    return below
