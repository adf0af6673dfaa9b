"""ThingVisorType: is it usable? As for a Flavour, its schema and its example must be right."""

from tephra.plan.base import NOTHING, Key, Object, Plan, World
from tephra.plan.conditions import judge
from tephra.plan.flavour import check


def plan(desired: Object | None, key: Key, world: World) -> Plan:
    """Report whether the schema and the example are right."""
    if desired is None:
        return NOTHING
    finding, _ = check(desired)
    verdict = judge(desired, [finding], "ready to be used")
    return Plan(status={"conditions": verdict.conditions}, events=verdict.events, settled=verdict.settled)
