"""SDK for ThingVisors: a small class says what a source has; everything else is done for it.

::

    class HelloWorld(ThingVisor):
        class Params(ThingVisor.Params):
            period: float = 5

        async def start(self, params: Params) -> None:
            await self.announce("hello", type="greeting")
            while True:
                await self.publish("hello", [{"id": "urn:ngsi-ld:Greeting:1", "type": "Greeting", ...}])
                await asyncio.sleep(params.period)

    if __name__ == "__main__":
        run(HelloWorld)

Read :mod:`.thingvisor` first (what an author writes), then :mod:`.runtime` (what happens around it). Try a ThingVisor
without a cluster with :mod:`.testing`.
"""

from tephra.things.commands import CommandCall, CommandRefused
from tephra.things.health import Reason, SourceError
from tephra.things.main import run
from tephra.things.thingvisor import Announcement, MakeError, Params, ThingVisor

__all__ = [
    "Announcement",
    "CommandCall",
    "CommandRefused",
    "MakeError",
    "Params",
    "Reason",
    "SourceError",
    "ThingVisor",
    "run",
]
