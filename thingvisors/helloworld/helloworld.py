"""ThingVisor ``helloworld``: counters, to see the whole way from a source to a tenant's broker and back.

Every vThing has two entities, as in VirIoT's HelloWorld: a counter, and one that is always its double. The command
``set-counter`` on the counter sets it, so that the way back can be seen too. Started again, it counts from the start.
"""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from tephra.things import Announcement, CommandCall, CommandRefused, Params, ThingVisor, run

TYPE = "HelloSensor"
SET_COUNTER = "set-counter"


class ThingParams(Params):
    """What a hand-written VThing may set in `spec.params`."""

    start: int = Field(default=0, ge=0, le=2**53, description="The counter begins after this number.")


class HelloWorld(ThingVisor):
    """Counts."""

    class Params(Params):
        """Which vThings, and how fast they count."""

        things: list[str] = Field(
            default=["hello"], max_length=1000, description="Names of the vThings that are announced."
        )
        period: float = Field(default=5, ge=0.001, le=86400, description="Seconds between two steps.")
        rate: float = Field(default=0, ge=0, le=1000, description="Steps per second, in place of period; 0: period.")

    def setup(self) -> None:
        self._counters: dict[str, int] = {}
        self._made: set[str] = set()

    async def start(self, params: Params) -> None:
        """Count; when params change, counters go on where they are."""
        await self.serve(*(_announcement(thing) for thing in params.things))
        self._counters = {thing: self._counters.get(thing, 0) for thing in {*params.things, *self._made}}
        period = 1 / params.rate if params.rate else params.period
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            for thing in list(self._counters):
                await self._step(thing)
            due = max(due + period, loop.time() - 1)  # a loop that fell behind catches up, but not for ever
            await asyncio.sleep(due - loop.time())

    async def make(self, thing: str, params: dict[str, Any]) -> Announcement:
        """A vThing that somebody declared counts like the others."""
        self._counters[thing] = ThingParams.model_validate(params).start
        self._made.add(thing)
        return _announcement(thing)

    async def unmake(self, thing: str) -> None:
        self._made.discard(thing)
        self._counters.pop(thing, None)

    async def on_command(self, call: CommandCall) -> Any:
        """``set-counter``: the value is the number that the counter shows next."""
        if call.entity != entity_id(call.thing, 1):
            raise CommandRefused(f"only {entity_id(call.thing, 1)} can be set")
        if not isinstance(call.value, int) or isinstance(call.value, bool) or not 0 <= call.value <= 2**53:
            raise CommandRefused(f"the counter can be set to a whole number from 0 to 2^53, not to {call.value!r}")
        await call.status("setting")
        self._counters[call.thing] = call.value
        await self.publish(call.thing, entities(call.thing, call.value))
        return {"counter": call.value}

    async def _step(self, thing: str) -> None:
        if thing in self.announced:
            count = self._counters[thing] = self._counters.get(thing, 0) + 1
            await self.publish(thing, entities(thing, count))


def _announcement(thing: str) -> Announcement:
    return Announcement(thing=thing, type=TYPE, description="A counter and its double", commands=(SET_COUNTER,))


def entity_id(thing: str, number: int) -> str:
    """``urn:ngsi-ld:HelloSensor:<thing>:<number>``"""
    return f"urn:ngsi-ld:{TYPE}:{thing}:{number}"


def entities(thing: str, count: int) -> Iterable[dict[str, Any]]:
    """The two entities of a vThing, NGSI-LD normalized."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for number, attribute, value in ((1, "counter", count), (2, "doubleCounter", 2 * count)):
        yield {
            "id": entity_id(thing, number),
            "type": TYPE,
            attribute: {"type": "Property", "value": value, "observedAt": now},
        }


if __name__ == "__main__":
    run(HelloWorld)
