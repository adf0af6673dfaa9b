"""Row 2: the API server's answer to a VSilo → the first entity at the tenant's own MQTT client.

Beside it, in the same run: the very same pod (the silo's spec, labels, Secrets and ConfigMap) applied bare with kubectl
and watched until it is Ready. The bare pods come in blocks while the operator is scaled to zero, so that the silo's bus
identity stays valid and nobody else uses it. The difference of the medians is what Tephra adds.
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

from bench.foundation import bed
from bench.report import at_most, emit, noise, percentile, progress
from tephra.kube.client import Client, Selection
from tephra.kube.config import load
from tests.support.system import NAMESPACE, System, condition, hello, silo
from tests.support.tenant import Tenant

OVERHEAD_S = 0.7
BLOCKS, BLOCK = 5, 10
QUICK_BLOCKS, QUICK_BLOCK = 1, 6

Steps = dict[str, float]
"""Seconds from the API server's answer to each step, by the step's name."""


def run(quick: bool) -> None:
    """50 silos and 50 bare pods in alternating blocks, none discarded (6 when quick)."""
    system = bed.system()
    blocks, size = (QUICK_BLOCKS, QUICK_BLOCK) if quick else (BLOCKS, BLOCK)
    ours: list[Steps] = []
    bare: list[Steps] = []
    with system.namespace("create") as namespace:
        system.apply(hello(namespace, period=3600))
        system.wait("thingvisor", "hello", namespace)
        for block in range(blocks):
            ours += asyncio.run(_silos(system, namespace, [f"s{block}-{i}" for i in range(size)]))
            with _orphan(system, namespace, f"ref{block}") as template:
                bare += asyncio.run(_bare_pods(system, namespace, template, size))
            progress(f"{len(ours)} silos, {len(bare)} bare pods")
    _print(ours, bare)


def _print(ours: list[Steps], bare: list[Steps]) -> None:
    steps = {step: [run[step] for run in ours] for step in ours[0]}
    peers = {step: [run[step] for run in bare] for step in bare[0]}
    for step, values in sorted(steps.items(), key=lambda item: percentile(item[1], 50)):
        beside = {"peer_value": percentile(peers[step], 50)} if step in peers else {}
        emit("foundation", 2, f"from the answer until {step}, p50", percentile(values, 50), "s", **beside)
    first, ready = steps["first entity"], peers["pod Ready"]
    value, peer = percentile(first, 50), percentile(ready, 50)
    added = value - peer
    more = {"peer": "the same pod, kubectl apply until Ready", "peer_value": peer, "ratio": value / peer}
    more |= {"runs": len(first), "noise": noise(first), "peer_noise": noise(ready)}
    emit("foundation", 2, "first entity, p50 over the bare pod", added, "s", **more, **at_most(added, OVERHEAD_S))
    emit("foundation", 2, "first entity, p99", percentile(first, 99), "s", peer_value=percentile(ready, 99))


# --- ours ---------------------------------------------------------------------------------------


async def _silos(system: System, namespace: str, names: list[str]) -> list[Steps]:
    async with Client(load(system.kubeconfig), field_manager="bench") as kube:
        return [await _one_silo(kube, namespace, name) for name in names]


async def _one_silo(kube: Client, namespace: str, name: str) -> Steps:
    """Create a silo, be its tenant until the first entity, and delete it."""
    await kube.apply(silo(namespace, name, f"{namespace}/hello/hello"))
    answered = time.monotonic()
    owned = Selection(namespace, labels=f"tephra.dev/owner-name=vsilo.{name}")
    pod = asyncio.create_task(_pod_steps(kube, owned, answered))
    steps: Steps = {}
    service = await _until(kube, "Service", _named(namespace, f"silo-{name}"))
    steps["Service"] = time.monotonic() - answered
    secret = await _until(kube, "Secret", _named(namespace, f"{name}-credentials"))
    steps["Secret"] = time.monotonic() - answered
    port = int(service["spec"]["ports"][0]["nodePort"])
    steps["first entity"] = await asyncio.to_thread(_first_entity, port, secret) - answered
    steps |= await pod
    await _until(kube, "VSilo", _named(namespace, name), _ready)
    steps["VSilo Ready"] = time.monotonic() - answered
    await kube.delete("VSilo", name, namespace)
    return steps


async def _pod_steps(kube: Client, selection: Selection, answered: float) -> Steps:
    """When the pod was there, its containers had started, and it was Ready."""
    steps: Steps = {}
    for step, wanted in (("pod", bool), ("containers", _started), ("pod Ready", _ready)):
        await _until(kube, "Pod", selection, wanted)
        steps[step] = time.monotonic() - answered
    return steps


def _started(pod: Mapping[str, Any]) -> bool:
    states = pod["status"].get("containerStatuses", [])
    return bool(states) and all("running" in container["state"] for container in states)


def _ready(item: Mapping[str, Any]) -> bool:
    return condition(item, "Ready").get("status") == "True"


def _named(namespace: str, name: str) -> Selection:
    return Selection(namespace, fields=f"metadata.name={name}")


async def _until(
    kube: Client, kind: str, selection: Selection, wanted: Callable[[Mapping[str, Any]], bool] = bool
) -> Mapping[str, Any]:
    """The first object of the selection for which `wanted(object)` holds."""
    async with aclosing(kube.watch(kind, selection)) as events:
        async for event in events:
            if event.type in {"ADDED", "MODIFIED"} and wanted(event.object):
                return event.object
    raise AssertionError(f"the watch of {kind} ended")


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


@contextmanager
def _orphan(system: System, namespace: str, name: str) -> Iterator[Mapping[str, Any]]:
    """The pod template of a silo that keeps its Secrets and bus identity, but within the block no pod, no operator."""
    system.apply(silo(namespace, name, f"{namespace}/hello/hello"))
    system.wait("vsilo", name, namespace)
    template = system.get("deployment", f"silo-{name}", namespace)["spec"]["template"]
    system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", "--replicas=0")
    try:
        system.kubectl("-n", NAMESPACE, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator")
        system.kubectl("-n", namespace, "delete", "deployment", f"silo-{name}", "--wait", "--cascade=foreground")
        yield template
    finally:
        system.kubectl("-n", namespace, "delete", "vsilo", name)
        system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", "--replicas=1")
        system.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/tephra-operator", "--timeout=90s")


async def _bare_pods(system: System, namespace: str, template: Mapping[str, Any], count: int) -> list[Steps]:
    async with Client(load(system.kubeconfig), field_manager="bench") as kube:
        return [await _bare_pod(system, kube, namespace, f"bare-{i}", template) for i in range(count)]


async def _bare_pod(system: System, kube: Client, namespace: str, name: str, template: Mapping[str, Any]) -> Steps:
    metadata = {"name": name, "namespace": namespace, "labels": template["metadata"]["labels"]}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    system.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    steps = await _pod_steps(kube, _named(namespace, name), time.monotonic())
    system.kubectl("-n", namespace, "delete", "pod", name, "--wait")
    return steps
