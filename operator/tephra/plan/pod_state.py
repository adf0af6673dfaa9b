"""Why a pod of ours is not ready, from its Deployment and Pod, in words that lead to the next step.

The Deployment must be the one we ask for now (:data:`tephra.api.labels.APPLIED`) and rolled out; before that nothing
that the old pod says counts. Pure.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tephra.api import labels
from tephra.api.conditions import Reason, Type
from tephra.plan.base import Object, World, fingerprint
from tephra.plan.children import Manifest, live
from tephra.plan.conditions import Finding, Outlook, stalled, working

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_PULL_PREFIX = re.compile(r'^Back-off pulling image "[^"]*"(: \w+: )?')
_CRASHES = 2
"""Restarts after which a container that is not ready counts as crashing, also between two back-offs."""


@dataclass(frozen=True, slots=True)
class PodState:
    """The one pod of an object, as far as it is known."""

    deployment: Object | None
    pod: Object | None
    current: bool
    """The live Deployment is the one that is asked for."""
    site: str
    """Where it is to run; empty for anywhere."""

    def placed(self) -> Finding:
        """Whether a node was found; also what keeps a pod from being made at all."""
        if (early := self._early(Type.PLACED)) is not None:
            return early
        if self.pod is None:
            return working(Type.PLACED, Reason.WAITING_FOR_POD, "the pod is being made")
        scheduled = _condition(self.pod, "PodScheduled")
        if scheduled.get("reason") == "Unschedulable":
            return stalled(Type.PLACED, Reason.UNSCHEDULABLE, _unschedulable(self.site, scheduled.get("message", "")))
        if not self.pod["spec"].get("nodeName"):
            return working(Type.PLACED, Reason.WAITING_FOR_POD, "the scheduler looks for a node")
        if _abandoned(self.pod):
            message = "the node of the pod does not answer; it comes back, or the pod is made again elsewhere"
            return working(Type.PLACED, Reason.WAITING_FOR_POD, message)
        return Finding(Type.PLACED, Reason.PLACED)

    def container(self, name: str, type_: Type) -> Finding:
        """Whether one container runs and its probes pass."""
        status = _container(self.pod, name)
        if (early := self._early(type_)) is not None:
            return early
        if status.get("ready"):
            return Finding(type_, Reason.RUNNING)
        trouble = _trouble(status, name)
        if trouble is not None:
            return stalled(type_, *trouble)
        return working(type_, Reason.WAITING_FOR_POD, f"container {name} is not ready yet")

    def whole(self, name: str, type_: Type) -> Finding:
        """Placement and one container in one finding, for objects that have one container."""
        placed = self.placed()
        if placed.outlook is Outlook.GOOD:
            return self.container(name, type_)
        return Finding(type_, placed.reason, placed.message, placed.outlook)

    def _early(self, type_: Type) -> Finding | None:
        """What the Deployment tells before its pod is worth a look."""
        if self.deployment is None or not self.current:
            return working(type_, Reason.PROGRESSING, "the pod's Deployment is being brought up to date")
        status = self.deployment.get("status") or {}
        if status.get("observedGeneration", 0) < self.deployment["metadata"]["generation"]:
            return working(type_, Reason.PROGRESSING, "the pod's Deployment is being rolled out")
        failure = _condition(self.deployment, "ReplicaFailure")
        if failure.get("status") == "True":
            return stalled(type_, Reason.REFUSED, f"the pod is refused: {failure.get('message', '')}")
        if not status.get("updatedReplicas"):
            return working(type_, Reason.WAITING_FOR_POD, "the pod is being replaced")
        return None


def observe(world: World, owner: Object, name: str, wanted: Manifest | None) -> PodState:
    """The state of the pod of the Deployment ``name``; ``wanted``: as rendered now, None to take the live one."""
    deployment = live(world, "Deployment", name, owner)
    current = deployment is not None and (wanted is None or is_current(deployment, wanted))
    pod = _newest(world.children(owner["metadata"]["uid"], "Pod"))
    return PodState(deployment, pod, current, (owner["spec"].get("placement") or {}).get("site") or "")


def is_current(item: Object, wanted: Manifest) -> bool:
    """Whether the live child is the one that the performer made of ``wanted``."""
    return (item["metadata"].get("annotations") or {}).get(labels.APPLIED) == fingerprint(wanted)


def is_serving(world: World, owner: Object, name: str) -> bool:
    """Whether the Deployment ``name`` has a ready pod."""
    deployment = live(world, "Deployment", name, owner)
    return bool(deployment and (deployment.get("status") or {}).get("readyReplicas"))


def _newest(pods: Collection[Object]) -> Object | None:
    alive = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return max(
        alive, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]), default=None
    )


def _abandoned(pod: Object) -> bool:
    """Whether the pod is not ready though its containers were when last heard of: its node is away."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return (
        _condition(pod, "Ready").get("status") == "False"
        and bool(statuses)
        and all(each.get("ready") for each in statuses)
    )


def _condition(item: Object, type_: str) -> dict[str, Any]:
    conditions = (item.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == type_), {})


def _container(pod: Object | None, name: str) -> dict[str, Any]:
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or ()
    return next((each for each in statuses if each["name"] == name), {})


def _trouble(status: dict[str, Any], name: str) -> tuple[Reason, str] | None:
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _IMAGE:
        return Reason.IMAGE_UNAVAILABLE, _image(status.get("image", ""), message)
    if reason in _CONFIG:
        kind = Reason.SECRET_MISSING if message.startswith('secret "') else Reason.REFUSED
        return kind, f"container {name} cannot be made: {message}"
    if reason == "CrashLoopBackOff" or status.get("restartCount", 0) >= _CRASHES:
        return Reason.CRASH_LOOP, _crash(status, name)
    return None


def _image(image: str, message: str) -> str:
    cause = _PULL_PREFIX.sub("", message).partition("\n")[0]
    step = "check its name and that the nodes can pull it"
    return f"image {image} is not available: {step}" + (f" ({cause})" if cause else "")


def _crash(status: dict[str, Any], name: str) -> str:
    ended = (status.get("lastState") or {}).get("terminated") or {}
    last = [line for line in ended.get("message", "").splitlines() if line.strip()]
    said = f": {last[-1].strip()[:400]}" if last else ""
    return f"container {name} keeps ending, last with exit code {ended.get('exitCode', 'unknown')}{said}"


def _unschedulable(site: str, message: str) -> str:
    where = f"no node of site {site} takes the pod" if site else "no node takes the pod"
    return f"{where}; check spec.placement and the nodes' labels, taints and free resources ({message})"
