"""Row 2: the API server's answer to a VSilo → the first entity at the tenant's own MQTT client.

Beside it, in the same run: the very same pod (spec copied from the silo's, with its Secrets and ConfigMap) applied bare
with kubectl and waited for. The bare pods come in blocks while the operator is scaled to zero, so that the silo's bus
identity stays valid and nobody else uses it. The difference of the medians is what Tephra adds.
"""

import asyncio
import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from bench.foundation import bed
from bench.report import at_most, emit, noise, percentile, progress
from tephra.kube.client import Client, Selection
from tephra.kube.config import load
from tests.support.system import NAMESPACE, System, condition, custom, hello, silo
from tests.support.tenant import Tenant

OVERHEAD_S = 0.7
BLOCK = 10

Steps = dict[str, float]


def run(quick: bool) -> None:
    """At least 50 silos and 50 bare pods in alternating blocks (10 when quick), none discarded."""
    system, blocks = bed.system(), 1 if quick else 5
    ours: list[Steps] = []
    bare: list[float] = []
    with system.namespace("create") as namespace:
        system.apply(hello(namespace, period=3600))
        system.wait("thingvisor", "hello", namespace)
        for block in range(blocks):
            ours += asyncio.run(_silos(system, namespace, [f"s{block}-{i}" for i in range(BLOCK)]))
            bare += _bare_pods(system, namespace, f"ref{block}")
            progress(f"{len(ours)} silos, {len(bare)} bare pods")
    _print(ours, bare)


def _print(ours: list[Steps], bare: list[float]) -> None:
    for step in ours[0]:
        emit("foundation", 2, f"from the answer until {step}, p50", percentile([run[step] for run in ours], 50), "s")
    first = [run["first entity"] for run in ours]
    value, peer = percentile(first, 50), percentile(bare, 50)
    more = {"peer": "the same pod, kubectl apply and wait", "peer_value": peer, "ratio": value / peer}
    more |= {"runs": len(first), "noise": noise(first), "peer_noise": noise(bare)}
    emit(
        "foundation",
        2,
        "first entity, p50 over the bare pod",
        value - peer,
        "s",
        **more,
        **at_most(value - peer, OVERHEAD_S),
    )
    emit("foundation", 2, "first entity, p99", percentile(first, 99), "s", peer_value=percentile(bare, 99))


# --- ours ---------------------------------------------------------------------------------------


async def _silos(system: System, namespace: str, names: list[str]) -> list[Steps]:
    async with Client(load(system.kubeconfig), field_manager="bench") as kube:
        return [await _one_silo(kube, namespace, name) for name in names]


async def _one_silo(kube: Client, namespace: str, name: str) -> Steps:
    """Seconds from the API server's answer until each step; the silo is deleted afterwards."""
    steps: Steps = {}
    await kube.apply(silo(namespace, name, f"{namespace}/hello/hello"))
    answered = time.monotonic()

    def mark(step: str) -> None:
        steps[step] = time.monotonic() - answered

    port = await _node_port(kube, namespace, f"silo-{name}")
    mark("Service")
    secret = await _appears(kube, "Secret", namespace, f"{name}-credentials")
    mark("Secret")
    pod = asyncio.create_task(_pod_steps(kube, namespace, f"vsilo.{name}", answered))
    entity = await asyncio.to_thread(_first_entity, port, secret)
    steps["first entity"] = entity - answered
    steps |= await pod
    async for event in kube.watch("VSilo", Selection(namespace, fields=f"metadata.name={name}")):
        if condition(event.object, "Ready").get("status") == "True":
            break
    mark("Ready")
    await kube.delete("VSilo", name, namespace)
    return steps


async def _appears(kube: Client, kind: str, namespace: str, name: str) -> Any:
    async for event in kube.watch(kind, Selection(namespace, fields=f"metadata.name={name}")):
        if event.type in {"ADDED", "MODIFIED"}:
            return event.object
    raise AssertionError(f"the watch of {kind} {name} ended")


async def _node_port(kube: Client, namespace: str, name: str) -> int:
    service = await _appears(kube, "Service", namespace, name)
    return int(service["spec"]["ports"][0]["nodePort"])


async def _pod_steps(kube: Client, namespace: str, owner: str, answered: float) -> Steps:
    """When the pod was there, and when its containers had started."""
    steps: Steps = {}
    async for event in kube.watch("Pod", Selection(namespace, labels=f"tephra.dev/owner-name={owner}")):
        if not event.object:
            continue
        steps.setdefault("pod", time.monotonic() - answered)
        states = event.object.get("status", {}).get("containerStatuses", [])
        if states and all("running" in state["state"] for state in states):
            steps["containers"] = time.monotonic() - answered
            return steps
    raise AssertionError("the watch of pods ended")


def _first_entity(port: int, secret: Mapping[str, Any]) -> float:
    """Connect as soon as the broker lets us, subscribe, and say when the first entity came (monotonic)."""
    keys = System.decode(secret)
    while True:
        try:
            tenant = Tenant(f"mqtts://127.0.0.1:{port}", keys["user"], keys["password"], keys["ca.crt"]).connect()
            break
        except OSError:
            _pause_until_listening(port)
    try:
        tenant.subscribe("#")
        return tenant.next(60).at
    finally:
        tenant.close()


def _pause_until_listening(port: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        time.sleep(0.01)  # a tenant that retries; there is no event to wait for outside the cluster
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise TimeoutError(f"nothing listens on NodePort {port}")


# --- the same pod, bare -------------------------------------------------------------------------


def _bare_pods(system: System, namespace: str, name: str) -> list[float]:
    """Seconds from kubectl's answer to Ready, for a block of bare copies of a silo's pod."""
    system.apply(silo(namespace, name, f"{namespace}/hello/hello"))
    system.wait("vsilo", name, namespace)
    template = system.get("deployment", f"silo-{name}", namespace)["spec"]["template"]
    system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", "--replicas=0")
    system.kubectl("-n", NAMESPACE, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator")
    try:
        system.kubectl("-n", namespace, "delete", "deployment", f"silo-{name}", "--wait", "--cascade=foreground")
        return [_bare_pod(system, namespace, f"bare-{i}", template["spec"]) for i in range(BLOCK)]
    finally:
        system.kubectl("-n", namespace, "delete", "vsilo", name)
        system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", "--replicas=1")
        system.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/tephra-operator", "--timeout=90s")


def _bare_pod(system: System, namespace: str, name: str, spec: Mapping[str, Any]) -> float:
    manifest = custom("Pod", namespace, name, spec) | {"apiVersion": "v1"}
    system.run("kubectl", "apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    answered = time.monotonic()
    system.wait("pod", name, namespace)
    took = time.monotonic() - answered
    system.kubectl("-n", namespace, "delete", "pod", name, "--wait")
    return took
