"""The engine as `tephra.app` builds it, on a real API server, with a plan of the test's own and without a bus.

`python -m tests.support.engine KUBECONFIG LEASE` runs one for VThings in a process of its own, to be killed.
"""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from tephra import handlers
from tephra.kube.client import Client
from tephra.kube.config import Config, load
from tephra.kube.lease import Lease
from tephra.plan.base import Action, BusState, EventNote, Key, Keys, Object, Plan, Planner, Settings, World
from tephra.reconcile.cache import Cache
from tephra.reconcile.loop import Engine, Ports, Rules
from tephra.reconcile.metrics import Metrics
from tephra.reconcile.sync import Sync, Watch
from tephra.reconcile.world import Surroundings

NAMESPACE = "default"


def ready(desired: Object | None, key: Key, world: World) -> Plan:
    """Every vThing is ready and shows the label of its spec."""
    if desired is None:
        return Plan()
    condition = {"type": "Ready", "status": "True", "reason": "Ready", "message": ""}
    return Plan(status={"label": desired["spec"].get("label", ""), "conditions": [condition]})


class Deaf:
    """For plans without actions and Events."""

    def note(self, item: Object, note: EventNote) -> None:
        raise AssertionError(note)

    async def perform(self, actions: Sequence[Action], may_act: Callable[[], None]) -> Sequence[EventNote]:
        raise AssertionError(actions)


@dataclass(frozen=True)
class Running:
    """The parts that tests look at."""

    engine: Engine
    sync: Sync
    lease: Lease
    metrics: Metrics


@asynccontextmanager
async def standby(
    config: Config, kind: str, plan: Planner, lease: str = "engine", *, repairing: bool = True
) -> AsyncIterator[Running]:
    """Caches complete and fresh; acts once somebody acquires the Lease and starts the engine."""
    metrics, watches, stop, started = Metrics(), (Watch(kind),), asyncio.Event(), asyncio.Event()
    async with Client(config, observer=metrics.requested) as client:
        holder = Lease(client, namespace=NAMESPACE, name=lease, identity=secrets.token_hex(4))
        around = Surroundings(BusState, _no_keys(), Settings())
        engine = Engine(Cache(), Rules({kind: plan}, {}), Ports(Deaf(), client, Deaf(), metrics, holder, around))
        sync = Sync(engine, client, watches)
        await sync.seed()
        repair = asyncio.create_task(sync.run()) if repairing else None
        shell = asyncio.create_task(handlers.run(engine, sync, config, watches, ready=started, stop=stop))
        await started.wait()
        try:
            yield Running(engine, sync, holder, metrics)
        finally:
            await engine.stop()
            await holder.release()
            stop.set()
            if repair:
                repair.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait({shell}, timeout=10)


@asynccontextmanager
async def leading(config: Config, kind: str, plan: Planner, lease: str = "engine") -> AsyncIterator[Running]:
    """It acts."""
    async with standby(config, kind, plan, lease) as running:
        await running.lease.acquire()
        holding = asyncio.create_task(running.lease.hold())
        running.engine.start()
        try:
            yield running
        finally:
            holding.cancel()


def _no_keys() -> Keys:
    return None  # type: ignore[return-value]  # these plans derive no credentials


async def _main(kubeconfig: str, lease: str) -> None:
    async with leading(load(kubeconfig), "VThing", ready, lease):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
