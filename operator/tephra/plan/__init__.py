"""Decisions, one file per kind: (desired, world) → actions, conditions, events. Pure: no await, clock, randomness, I/O.

:mod:`.base` holds what every planner takes and gives; the engine (:mod:`tephra.reconcile.loop`) runs ``PLANNERS``.
What several planners share: :mod:`.conditions` (findings), :mod:`.params`, :mod:`.access`, :mod:`.pod_state`, and the
renderers :mod:`.children`, :mod:`.pods`, :mod:`.network`. :mod:`.relations` says who is planned again when.
"""

from collections.abc import Mapping

from tephra.plan import flavour, sweep, thingvisor, thingvisortype, vsilo, vthing
from tephra.plan.base import Planner

PLANNERS: Mapping[str, Planner] = {
    "Flavour": flavour.plan,
    "ThingVisorType": thingvisortype.plan,
    "ThingVisor": thingvisor.plan,
    "VThing": vthing.plan,
    "VSilo": vsilo.plan,
    "Sweep": sweep.plan,
}
