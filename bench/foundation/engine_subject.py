"""One operator under measurement, in a process of its own: `ours` or stock `kopf`, with the same plan for VThings.

`python -m bench.foundation.engine_subject ours|kopf KUBECONFIG`. Driven and measured by :mod:`.engine`.
"""

import asyncio
import sys
import time
from typing import Any

import kopf

from tephra import handlers
from tephra.kube.client import Client
from tephra.kube.config import Config, load
from tephra.kube.lease import Lease
from tephra.plan.base import BusState, EventNote, Key, Keys, Object, Plan, Settings, World
from tephra.reconcile import status
from tephra.reconcile.cache import Cache
from tephra.reconcile.loop import Engine, Ports, Rules
from tephra.reconcile.metrics import Metrics
from tephra.reconcile.sync import Sync, Watch
from tephra.reconcile.world import Surroundings

KIND = "VThing"
WATCHES = (Watch(KIND),)


def plan(desired: Object | None, key: Key, world: World | None) -> Plan:
    """The plan of both: a vThing that is announced."""
    if desired is None:
        return Plan()
    spec = desired["spec"]
    ready = {"type": "Ready", "status": "True", "reason": "Ready", "message": f"{spec['id']} is served"}
    announced = {"type": "Announced", "status": "True", "reason": "Announced", "message": ""}
    return Plan(
        status={
            "announced": True,
            "type": spec.get("type", ""),
            "label": spec.get("label", ""),
            "conditions": [ready, announced],
        }
    )


class Unused:
    """What this operator has no use for: its plans have no actions and no Events."""

    def note(self, item: Object, note: EventNote) -> None:
        raise AssertionError

    async def perform(self, actions: Any, may_act: Any) -> tuple[EventNote, ...]:
        raise AssertionError


async def ours(config: Config) -> None:
    """The engine as `tephra.app` builds it, without a bus."""
    metrics = Metrics()
    async with Client(config, observer=metrics.requested) as client:
        lease = Lease(client, namespace="default", name="bench", identity=str(time.time()))
        around = Surroundings(BusState, _no_keys(), Settings())
        ports = Ports(Unused(), client, Unused(), metrics, lease, around)
        engine = Engine(Cache(), Rules({KIND: plan}, {}), ports)
        sync = Sync(engine, client, WATCHES)
        await sync.seed()
        await lease.acquire()
        engine.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(lease.hold())
            tasks.create_task(sync.run())
            tasks.create_task(
                kopf.operator(
                    registry=handlers.registry(engine, sync, config, WATCHES),
                    settings=handlers.settings(WATCHES),
                    clusterwide=True,
                )
            )


def _no_keys() -> Keys:
    return None  # type: ignore[return-value]  # the plan above derives no credentials


async def stock(config: Config) -> None:
    """kopf as its documentation shows it: one handler for creation and update, the result in `patch.status`."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await handlers.connection(config)

    @kopf.on.create("tephra.dev", "v1alpha1", "vthings", registry=registry)
    @kopf.on.update("tephra.dev", "v1alpha1", "vthings", registry=registry)
    async def changed(body: kopf.Body, patch: kopf.Patch, **_: Any) -> None:
        decided = plan(body, Key.of(body), None)
        patch.status.update(status.complete(decided, body, body.get("status") or {}, time.time()))

    await kopf.operator(registry=registry, clusterwide=True, standalone=True)


if __name__ == "__main__":
    asyncio.run({"ours": ours, "kopf": stock}[sys.argv[1]](load(sys.argv[2])))
