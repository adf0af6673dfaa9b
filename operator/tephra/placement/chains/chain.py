"""A chain placed and routed, feasible down to the node, with a certified lower bound: segment A*.

:mod:`.stages` compiles the request and bounds it from below; :mod:`.segments` finds the best placement that visits no
host twice; where that does not meet the bound, :mod:`.revisits` looks at all others, as far as its steps go.
"""

from time import perf_counter
from typing import NamedTuple

import numpy as np

from tephra.placement import packing
from tephra.placement.chains import crossings, revisits, segments
from tephra.placement.chains.crossings import Routed
from tephra.placement.chains.runs import Packer
from tephra.placement.chains.stages import Stages, bounds, compile_chain, lower_bound
from tephra.placement.model import Isolation, Placement, Policy, Request
from tephra.placement.residual import Residual
from tephra.placement.shapes import Shape

SOLVER = "segment-a*"
# What the search over all placements may do is counted in runs tried, so that it is the same on every machine.
STEPS, STEPS_PER_S, MOST_STEPS = 500, 10_000, 200_000  # by default; in about a second; in some 300 MiB
PACKING_SHARE = 5  # one search for a packing may take this part of them
ROUNDING = 1e-9  # relative: a smaller gap is that of floating point


class Unplaced(NamedTuple):
    """No placement was found; `proved`: because there is none."""

    proved: bool
    lower_bound: float
    milliseconds: float


def suits(request: Request) -> bool:
    """Whether this search knows every constraint of the request; the others are for the exact solver."""
    return (
        request.shape is Shape.CHAIN
        and not request.affinities
        and request.max_path_us is None
        and all(function.isolation is not Isolation.EXCLUSIVE for function in request.functions)
        and (len(request.functions) > 1 or len(request.channels) < 2)
    )


def place(residual: Residual, request: Request, policy: Policy, steps: int = STEPS) -> Placement | Unplaced:
    """The best placement of a chain, as far as the search gets; with `steps` 0 only among those that visit no host
    twice. ValueError for a request that does not suit."""
    began = perf_counter()
    if not suits(request):
        raise ValueError(
            f"Request {request.name}: {SOLVER} is for chains without affinities, exclusive isolation or a bound on the"
            " path; choose solver auto"
        )
    if not residual.topology.nodes:
        return Unplaced(True, np.inf, (perf_counter() - began) * 1000)
    stages = compile_chain(residual, request, policy)
    best, bound = _search(stages, policy, steps)
    if best is None:
        return Unplaced(bound == np.inf, bound, (perf_counter() - began) * 1000)
    return _placement(stages, request, best, bound, began)


def _search(stages: Stages, policy: Policy, steps: int) -> tuple[Routed | None, float]:
    """The best placement found and the bound."""
    found = bounds(stages)
    bound = lower_bound(stages, found)
    if bound == np.inf:
        return None, bound
    packer = Packer(stages, policy)
    best = segments.search(stages, found, policy, packer)
    if packer.by_node or not steps or (best is not None and _closed(best.cost, bound)):
        return best, bound
    steps = min(steps, MOST_STEPS)
    packer = Packer(stages, policy, max(packing.STEPS, steps // PACKING_SHARE))
    best, raised = revisits.improve(stages, found, packer, best, steps)
    return best, max(bound, raised)


def _closed(cost: float, bound: float) -> bool:
    return cost - bound <= ROUNDING * cost


def _placement(stages: Stages, request: Request, best: Routed, bound: float, began: float) -> Placement:
    topology, names = stages.residual.topology, [function.name for function in stages.functions]
    nodes = best.state.nodes()
    return Placement(
        request=request,
        assignment={name: topology.nodes[node].name for name, node in zip(names, nodes, strict=True)},
        paths=crossings.named(stages, best, nodes),
        objective=best.cost,
        lower_bound=best.cost if _closed(best.cost, bound) else bound,
        solver=SOLVER,
        milliseconds=(perf_counter() - began) * 1000,
        explanation=tuple(
            f"{topology.sites[int(stages.hosts[run.host])].name}: {names[run.begin]} to {names[run.end - 1]}"
            for run in best.state.runs
        ),
    )
