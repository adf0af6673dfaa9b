"""Row 2: is what the solvers call best the best? Random chains of 3 to 30 functions, with and without opening costs,
bid prices and thin links (:func:`generate.instance`, seeds 0, 1, 2, ...), solved by the papers' program with CP-SAT.

Asked for each: segment A* alone (the root: no branching on the unrestricted problem), and the exact solver from it.
Said for each: whether it equals the optimum that CP-SAT proves, whether its bound holds, whether the bound meets the
placement. Every placement is proved by the checker; refusals must agree as well.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from bench.report import at_most, emit, percentile, progress
from tephra.placement import Placement, Policy, Refusal, Request, Residual, check, generate, ilp
from tephra.placement.solve import Answer, solve

INSTANCES, QUICK_INSTANCES = 180, 12
ORACLE_S, OURS_S = 20.0, 5.0  # CP-SAT's deterministic seconds
EQUAL = 1e-4  # relative: the oracle's costs are integers cut from the true ones


@dataclass(frozen=True, slots=True)
class Trial:
    """One instance: the oracle's placement and ours, None where refused."""

    seed: int
    best: Answer
    found: Answer

    @property
    def proved(self) -> bool:
        """Whether the oracle settled it."""
        return self.best.gap < EQUAL if isinstance(self.best, Placement) else self.best.proved

    @property
    def equal(self) -> bool:
        """The same objective, or both refuse."""
        if isinstance(self.best, Placement) and isinstance(self.found, Placement):
            return abs(self.found.objective - self.best.objective) <= EQUAL * max(1.0, self.best.objective)
        return isinstance(self.best, Refusal) and isinstance(self.found, Refusal)

    @property
    def sound(self) -> bool:
        """Our bound is at most the oracle's objective, our refusal not of what the oracle placed."""
        if isinstance(self.found, Placement):
            return not isinstance(self.best, Placement) or self.found.lower_bound <= self.best.objective * (1 + EQUAL)
        return not (self.found.proved and isinstance(self.best, Placement))

    @property
    def possible(self) -> bool:
        """Whether anybody placed it."""
        return isinstance(self.best, Placement) or isinstance(self.found, Placement)

    @property
    def closed(self) -> bool:
        """The bound meets the placement, or the refusal is proved."""
        return self.found.gap < EQUAL if isinstance(self.found, Placement) else self.found.proved


def run(quick: bool) -> None:
    """Solve every instance three ways and print what agrees."""
    trials: dict[str, list[Trial]] = {"segment-a*": [], "exact": []}
    for seed in range(QUICK_INSTANCES if quick else INSTANCES):
        problem = generate.instance(np.random.default_rng(seed))
        best = _proved_right(*problem, ilp.solve(*problem, budget_s=ORACLE_S))
        for solver, done in trials.items():
            answer = solve(*problem, solver=solver, budget_s=OURS_S, explain=False)
            done.append(Trial(seed, best, _proved_right(*problem, answer)))
        progress(f"seed {seed}: {_said(best)}; " + "; ".join(f"{s} {_said(d[-1].found)}" for s, d in trials.items()))
    for solver, done in trials.items():
        _report(solver, done)


def _proved_right(residual: Residual, request: Request, policy: Policy, answer: Answer) -> Answer:
    return check.require(residual, request, policy, answer) if isinstance(answer, Placement) else answer


def _said(answer: Answer) -> str:
    if isinstance(answer, Placement):
        return f"{answer.objective:.6g}, gap {answer.gap:.2%}, {answer.milliseconds:.1f} ms"
    return "refused" + (", proved" if answer.proved else "")


def _report(solver: str, trials: list[Trial]) -> None:
    proved = [trial for trial in trials if trial.proved]
    placed = [trial for trial in proved if isinstance(trial.best, Placement)]
    unlike = [trial.seed for trial in proved if not trial.equal]
    wrong = [trial.seed for trial in trials if not trial.sound]
    possible = [trial for trial in trials if trial.possible]  # what was not found counts as a gap
    share = sum(trial.closed for trial in possible) / max(1, len(possible))
    kind = Counter("placed" if isinstance(trial.best, Placement) else "refused" for trial in proved)
    about = {"solver": solver, "proved_by_cp_sat": len(proved), "instances": len(trials), **kind}
    counts = {"unequal to CP-SAT where it proves": unlike, "bounds above CP-SAT's objective": wrong}
    for what, seeds in counts.items():
        emit("placement", 2, what, len(seeds), "instances", **at_most(len(seeds), 0), **about, seeds=seeds)
    holds = {"bar": ">= 0.95", "holds": share >= 0.95}
    emit("placement", 2, "placements whose gap is zero", share, "share", **holds, solver=solver)
    _times(solver, placed)


def _times(solver: str, placed: list[Trial]) -> None:
    ours = [trial.found.milliseconds for trial in placed]
    ratio = sum(trial.best.milliseconds for trial in placed) / sum(ours)
    for percent in (50, 99):
        value = percentile(ours, percent)
        emit("placement", 2, f"time, p{percent}", value, "ms", solver=solver, peer="papers' ILP by CP-SAT", ratio=ratio)
