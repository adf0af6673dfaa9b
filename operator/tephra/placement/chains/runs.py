"""What functions of a chain do on one host, and a walk of the chain over hosts: shared by :mod:`.segments` (which
visits no host twice) and :mod:`.revisits`. Numbering as in :mod:`.stages`."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tephra.placement import objective
from tephra.placement.chains.stages import Stages
from tephra.placement.model import Policy
from tephra.placement.packing import STEPS, pack


class Run(NamedTuple):
    """Functions `begin`..`end - 1` of the chain on a host."""

    host: int
    begin: int
    end: int


class Held(NamedTuple):
    """Functions on a host, each on its node (index into the topology); `cost` is theirs and the host's, no paths."""

    items: tuple[int, ...]
    nodes: tuple[int, ...]
    cost: float


class State(NamedTuple):
    """Functions before `placed` are placed: the walk so far, what hosts hold; `cost` includes the channels between."""

    cost: float = 0.0
    placed: int = 0
    runs: tuple[Run, ...] = ()
    held: Mapping[int, Held] = {}

    def nodes(self) -> list[int]:
        """(placed,) the node of every function along the chain."""
        at = {item: node for held in self.held.values() for item, node in zip(held.items, held.nodes, strict=True)}
        return [at[item] for item in range(self.placed)]


class Packer:
    """Sets of functions on the nodes of a host, each looked at once. `doubtful` are those that did not pack though
    that is not proved within `steps` each."""

    def __init__(self, stages: Stages, policy: Policy, steps: int = STEPS) -> None:
        self.stages, self.policy, self.steps = stages, policy, steps
        self.by_node = bool(policy.watts or policy.pull or policy.disruption)  # nodes of a host differ in cost
        self.doubtful: set[tuple[int, tuple[int, ...]]] = set()
        self._known: dict[tuple[int, tuple[int, ...]], Held | None] = {}
        self._price = np.diff(stages.price, axis=0)  # (F, H)

    def held(self, host: int, items: tuple[int, ...]) -> Held | None:
        """The functions on the host; None where no packing was found."""
        key = (host, items)
        if key not in self._known:
            self._known[key] = self._pack(host, items)
        return self._known[key]

    def price(self, host: int, items: tuple[int, ...]) -> float:
        """What the functions cost on the host at least, its opening aside."""
        return float(self._price[list(items), host].sum())

    def _pack(self, host: int, items: tuple[int, ...]) -> Held | None:
        stages, rows, first = self.stages, list(items), int(self.stages.first[host])
        nodes = slice(first, int(stages.first[host + 1]))
        packing = pack(
            list(map(tuple, stages.demand[rows].tolist())),
            list(map(tuple, stages.residual.node_free[nodes].tolist())),
            stages.allowed[rows, nodes].tolist(),
            stages.terms.place[[stages.rank[item] for item in items], nodes].tolist() if self.by_node else None,
            self.steps,
        )
        if packing.nodes is None:
            if not packing.proved:
                self.doubtful.add((host, items))
            return None
        chosen = tuple(first + node for node in packing.nodes)
        cost = float(stages.opening[host]) + self.price(host, items)
        return Held(items, chosen, self._cost(host, items, chosen) if self.by_node else cost)

    def _cost(self, host: int, items: tuple[int, ...], nodes: tuple[int, ...]) -> float:
        """The cost where it depends on the nodes: wake-ups, images, moves."""
        stages, terms, used = self.stages, self.stages.terms, sorted(set(nodes))
        rank = [stages.rank[item] for item in items]
        cost = float(terms.opening[int(stages.hosts[host])] + terms.wake[used].sum())
        cost += float(terms.place[rank, list(nodes)].sum())
        for node in used if self.policy.pull else ():
            here = (stages.functions[item] for item, at in zip(items, nodes, strict=True) if at == node)
            cost += self.policy.pull * stages.residual.missing_mib(node, objective.images(here))
        return cost
