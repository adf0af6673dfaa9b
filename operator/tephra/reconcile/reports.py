"""From what the bus says to the keys that it concerns.

Role: the listener of :class:`tephra.act.bus.BusControl`. A ThingVisor's report names all its things, so the one before
is remembered, and only what differs is planned again (:func:`tephra.plan.relations.visor_reported`).
"""

from tephra.bus.messages import ThingVisorReport
from tephra.formats.names import bus_identity
from tephra.plan.base import Key
from tephra.plan.relations import visor_reported
from tephra.reconcile.loop import Engine


class Reports:
    """Enqueues what a report concerns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._before: dict[str, ThingVisorReport] = {}

    def reported(self, key: Key) -> None:
        """The component of this ThingVisor or VSilo said something, or one of its control topics changed."""
        self._engine.enqueue(key)
        if key.kind != "ThingVisor":
            return
        identity = bus_identity(key.namespace, key.name)
        before, after = self._before.pop(identity, None), self._engine.bus.thing_visors.get(identity)
        if after is not None:
            self._before[identity] = after
        if before != after:
            for concerned in visor_reported(identity, before, after, self._engine.cache):
                self._engine.enqueue(concerned)
