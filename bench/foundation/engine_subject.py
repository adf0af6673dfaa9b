"""One operator under measurement, in a process of its own: `ours` or stock `kopf`, with the same plan for VThings.

`python -m bench.foundation.engine_subject ours|kopf KUBECONFIG`. Driven and measured by :mod:`.engine`.
"""

import asyncio
import sys
import time
from typing import Any

import kopf

from tephra import handlers
from tephra.kube.config import Config, load
from tephra.plan.base import Key, Object, Plan, World
from tephra.reconcile import status
from tests.support.engine import leading


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


async def ours(config: Config) -> None:
    """The engine as `tephra.app` builds it, without a bus."""
    async with leading(config, "VThing", plan):
        await asyncio.Event().wait()


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
