"""The way into the placement core: one request, one residual, one policy → a placement, or a refusal with its reasons.

``auto`` takes the solver that knows the request's shape: segment A* for chains (:mod:`.chain`); CP-SAT from the best
beam for DAGs, trees and chains with rules that A* does not know (:mod:`.exact`); beam search for general graphs and
single workloads (:mod:`.beam`), and CP-SAT where that finds nothing. What is refused is explained by :mod:`.refuse` and
:mod:`.relax`. A request that names what the topology does not have is no refusal but a ValueError.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from tephra.placement import ilp, relax
from tephra.placement.chains import chain
from tephra.placement.graphs import beam, exact
from tephra.placement.model import Placement, Policy, Refusal, Request, Topology
from tephra.placement.refuse import cause
from tephra.placement.residual import Residual
from tephra.placement.shapes import Shape
from tephra.placement.values import known

GAP = 0.05  # relative, between an objective of A* and its bound: from here on it is worth the exact solver
Answer = Placement | Refusal


class Effort(NamedTuple):
    """How much a solver may do; see :func:`solve`."""

    seed: int = 0
    budget_s: float = 0.0


def solve(
    residual: Residual,
    request: Request,
    policy: Policy | None = None,
    *,
    solver: str = "auto",
    seed: int = 0,
    budget_s: float = 0.2,
    explain: bool = True,
) -> Answer:
    """Place `request` on what is free. `solver` is a key of :data:`SOLVERS`; `budget_s` bounds CP-SAT, which ``auto``
    asks about a chain only when A* leaves more than :data:`GAP`, and what A* does beyond its first answer. With
    `explain` a refusal says what stopped the request and the least change that would admit it, which takes some
    hundred times as long as the refusal alone.

    ValueError: the request names a site or node that is not there, or the solver is unknown or not for this request.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solve: solver is {solver!r}; give one of {', '.join(SOLVERS)}")
    policy = policy or Policy()
    check_names(residual.topology, request)
    answer = SOLVERS[solver](residual, request, policy, Effort(seed, budget_s))
    if isinstance(answer, Refusal) and explain:
        return explained(residual, policy, answer)
    return answer


def check_names(topology: Topology, request: Request) -> None:
    """ValueError unless every site and node that the request names exists, and endpoints' nodes are at their sites."""
    owner = f"Request {request.name}"
    for endpoint in request.endpoints:
        where = f"{owner}: endpoint {endpoint.name}"
        known(where, "site", endpoint.site, topology.site_index, "the sites of the topology")
        if endpoint.node:
            known(where, "node", endpoint.node, topology.node_index, "the nodes of the topology")
            if topology.site_of(endpoint.node) != endpoint.site:
                raise ValueError(f"{where}: node {endpoint.node!r} is not at its site {endpoint.site!r}; correct one")
    for function in request.functions:
        for site in sorted(function.sites):
            known(f"{owner}: function {function.name}", "sites", site, topology.site_index, "the sites of the topology")


def explained(residual: Residual, policy: Policy, refusal: Refusal) -> Refusal:
    """The refusal with what stopped the request, where that can be proved, and the least change that admits it."""
    began = time.perf_counter()
    found = cause(residual, refusal.request, policy)
    if found is not None:
        refusal = replace(refusal, proved=True, **found._asdict())
    change = relax.relaxation(residual, refusal.request, policy, _admits)
    spent = refusal.milliseconds + (time.perf_counter() - began) * 1000
    return replace(refusal, relaxation=change, milliseconds=spent)


def _admits(residual: Residual, request: Request, policy: Policy) -> bool:
    """Whether a fast solver places the request; what is provably impossible does not reach them."""
    if cause(residual, request, policy) is not None:
        return False
    solvers = (_chain, _beam) if chain.suits(request) else (_beam,)
    return any(isinstance(fast(residual, request, policy, Effort()), Placement) for fast in solvers)


def _auto(residual: Residual, request: Request, policy: Policy, effort: Effort) -> Answer:
    if request.shape in (Shape.GRAPH, Shape.SINGLE):
        found = _beam(residual, request, policy, effort)
        if isinstance(found, Placement) or not effort.budget_s:
            return found
    return _exact(residual, request, policy, effort, GAP)


def _exact(residual: Residual, request: Request, policy: Policy, effort: Effort, gap: float = 0.0) -> Answer:
    """CP-SAT; for a chain that A* knows only if A* leaves more than `gap`, and then from its placement."""
    first = _chain(residual, request, policy, effort) if chain.suits(request) else None
    if first is not None and (first.gap <= gap if isinstance(first, Placement) else first.proved):
        return first
    hint = first if isinstance(first, Placement) else None
    last = exact.solve(residual, request, policy, seed=effort.seed, budget_s=effort.budget_s, hint=hint)
    return last if first is None else _better(first, last)


def _better(one: Answer, other: Answer) -> Answer:
    """The better of two answers to the same request, under the better of their bounds, in the time of both."""
    spent = one.milliseconds + other.milliseconds
    if isinstance(one, Refusal) or isinstance(other, Refusal):
        return replace(other if isinstance(one, Refusal) else one, milliseconds=spent)
    best = min(one, other, key=lambda placement: placement.objective)
    bound = min(best.objective, max(one.lower_bound, other.lower_bound))
    return replace(best, lower_bound=bound, milliseconds=spent)


def _chain(residual: Residual, request: Request, policy: Policy, effort: Effort) -> Answer:
    answer = chain.place(residual, request, policy, round(chain.STEPS_PER_S * effort.budget_s))
    if isinstance(answer, Placement):
        return answer
    return Refusal(request, _nothing(answer.proved), answer.proved, chain.SOLVER, answer.milliseconds)


def _beam(residual: Residual, request: Request, policy: Policy, effort: Effort) -> Answer:
    del effort  # as above
    began = time.perf_counter()
    answer = beam.place(residual, request, policy)
    if answer is not None:
        return answer
    return Refusal(request, _nothing(False), False, "beam", (time.perf_counter() - began) * 1000)


def _ilp(residual: Residual, request: Request, policy: Policy, effort: Effort) -> Answer:
    return ilp.solve(residual, request, policy, seed=effort.seed, budget_s=effort.budget_s)


def _nothing(proved: bool) -> str:
    return "no placement meets every constraint together" if proved else "the search found no placement"


SOLVERS: dict[str, Callable[[Residual, Request, Policy, Effort], Answer]] = {
    "auto": _auto,
    "segment-a*": _chain,
    "beam": _beam,
    "exact": _exact,
    "ilp": _ilp,
}
