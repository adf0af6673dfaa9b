"""The shapes a request's channels may have, and whether they have it (used by :mod:`tephra.placement.model`).

Endpoints have their place already, so a walk ends at them: user → f → user is no cycle.
"""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter


class Shape(StrEnum):
    """What the graph of the functions is."""

    SINGLE = "single"  # one function, channels with endpoints only (a ThingVisor or vSilo and its peers on the bus)
    CHAIN = "chain"  # endpoint? → f1 → ... → fn → endpoint?
    TREE = "tree"  # connected, every function has at most one function before it, endpoints anywhere
    DAG = "dag"  # no cycle among the functions
    GRAPH = "graph"  # anything


def check(
    owner: str, shape: Shape, functions: Sequence[str], endpoints: Sequence[str], arcs: Sequence[tuple[str, str]]
) -> None:
    """Raise ValueError unless the channels (`arcs`) have the shape."""
    for source, target in arcs:
        if source in endpoints and target in endpoints:
            raise ValueError(f"{owner}: channels join endpoints {source!r} and {target!r}; remove that channel")
    inner = [(source, target) for source, target in arcs if source not in endpoints and target not in endpoints]
    if shape is Shape.SINGLE and len(functions) > 1:
        raise ValueError(f"{owner}: shape is single, but functions are {len(functions)}; give one, or another shape")
    if shape in (Shape.CHAIN, Shape.TREE, Shape.DAG):
        _refuse_cycle(owner, shape, functions, inner)
    if shape in (Shape.CHAIN, Shape.TREE):
        _refuse_joins(owner, shape, functions, inner)
    if shape is Shape.CHAIN:
        _refuse_branches(owner, inner, arcs, endpoints)


def order(functions: Sequence[str], endpoints: Sequence[str], arcs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The functions in topological order: for a chain, along it. The same for the same input."""
    before: dict[str, list[str]] = {function: [] for function in functions}
    for source, target in arcs:
        if source in before and target in before:
            before[target].append(source)
    return tuple(TopologicalSorter(before).static_order())


def _refuse_cycle(owner: str, shape: Shape, functions: Sequence[str], inner: Sequence[tuple[str, str]]) -> None:
    try:
        order(functions, (), inner)
    except CycleError as error:
        cycle = " → ".join(error.args[1])
        raise ValueError(
            f"{owner}: shape is {shape}, but channels form the cycle {cycle}; remove one, or ask for shape graph"
        ) from None


def _refuse_joins(owner: str, shape: Shape, functions: Sequence[str], inner: Sequence[tuple[str, str]]) -> None:
    """At most one function before each, and one function only with none before it."""
    before = Counter(target for _, target in inner)
    joined = [function for function in functions if before[function] > 1]
    if joined:
        raise ValueError(f"{owner}: shape is {shape}, but channels join at {joined[0]!r}; ask for shape dag")
    heads = [function for function in functions if not before[function]]
    if len(heads) > 1:
        raise ValueError(
            f"{owner}: shape is {shape}, but no channel reaches {heads[1]!r} from {heads[0]!r}; add it, or ask for dag"
        )


def _refuse_branches(
    owner: str, inner: Sequence[tuple[str, str]], arcs: Sequence[tuple[str, str]], endpoints: Sequence[str]
) -> None:
    """One channel out of each function, endpoints only at the two ends."""
    after, before = Counter(source for source, _ in inner), {target for _, target in inner}
    forks = sorted(function for function, count in after.items() if count > 1)
    if forks:
        raise ValueError(f"{owner}: shape is chain, but channels branch at {forks[0]!r}; ask for shape tree")
    ends: Counter[str] = Counter()
    for source, target in arcs:
        if (source in endpoints and target in before) or (target in endpoints and after[source]):
            inside = target if source in endpoints else source
            raise ValueError(f"{owner}: shape is chain, but an endpoint joins at {inside!r} inside it; ask for tree")
        if source in endpoints or target in endpoints:
            ends["head" if source in endpoints else "tail"] += 1
    crowded = [end for end, count in ends.items() if count > 1]
    if crowded:
        raise ValueError(f"{owner}: shape is chain, but its {crowded[0]} has several endpoints; ask for shape tree")
