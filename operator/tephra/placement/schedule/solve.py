"""The door to function scheduling: a workflow and a platform in, a schedule out, by the scheduler that is named."""

from collections.abc import Callable, Mapping

from tephra.placement.schedule.aware import aware
from tephra.placement.schedule.exact import exact
from tephra.placement.schedule.execute import execute
from tephra.placement.schedule.heft import heft
from tephra.placement.schedule.locality import cap, com
from tephra.placement.schedule.model import Platform, Workflow
from tephra.placement.schedule.peft import peft
from tephra.placement.schedule.problem import Problem, compile_problem
from tephra.placement.schedule.result import Schedule
from tephra.placement.schedule.sf_cuv import cuv_fix, sf_cuv
from tephra.placement.schedule.timeline import Plan

PLANNERS: Mapping[str, Callable[[Problem], Plan]] = {
    "sf-cuv": sf_cuv,
    "cuv-fix": cuv_fix,
    "heft": heft,
    "peft": peft,
    "cap": cap,
    "com": com,
}
SOLVERS = ("aware", "exact", *PLANNERS)


def schedule(
    workflow: Workflow,
    platform: Platform,
    *,
    solver: str = "aware",
    limit: int | None = None,
    seed: int = 0,
    seconds: float = 30.0,
) -> Schedule:
    """Schedule the workflow by one of :data:`SOLVERS`, on at most `limit` vCPUs (`aware` and `exact` only).

    `seconds` bounds `exact`. Raises ValueError for an unknown solver and a limit that the solver does not know.
    """
    problem = compile_problem(workflow, platform)
    if solver == "aware":
        return aware(problem, limit=limit, seed=seed)
    if solver == "exact":
        return exact(problem, limit=limit, seed=seed, seconds=seconds)
    if solver not in PLANNERS:
        raise ValueError(f"solver: {solver} is not one of {', '.join(SOLVERS)}")
    if limit is not None:
        raise ValueError(f"limit: {solver} has no limit of vCPUs; use aware or exact")
    return execute(problem, PLANNERS[solver](problem), solver)
