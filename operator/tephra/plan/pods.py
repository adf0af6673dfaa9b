"""Deployments of one pod each: PodSecurity `restricted`, one writer at a time, quick to report.

What all our pods share is here; what differs (containers, volumes) comes from :mod:`.thingvisor_children` and
:mod:`.silo_children`. The template must follow from the spec alone: whatever else went into it would restart pods.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tephra.api import labels
from tephra.api.base import Placement, Resources
from tephra.plan.base import Object
from tephra.plan.children import Manifest, child, owner_labels, pod_selector

GROUP = 65532
"""fsGroup of every pod: images run as different users, which read Secrets and write scratch space through it."""
GRACE = 10
"""Seconds that a pod has to hand over and stop."""
DEFAULT_CLASS = "container"
"""`placement.computeClass` that means the cluster's own runtime."""


def deployment(
    name: str,
    owner: Object,
    *,
    containers: Sequence[Manifest],
    volumes: Sequence[Manifest],
    placement: Placement,
    config: str = "",
) -> Manifest:
    """One pod of these containers; `Recreate`, because bus identities and brokers have one holder at a time.

    ``config``: fingerprint of configuration that the pod reads only at start; a new one replaces the pod.
    """
    meta: Manifest = {"labels": owner_labels(owner)}
    if config:
        meta["annotations"] = {labels.CONFIG: config}
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": pod_selector(owner)},
        "template": {"metadata": meta, "spec": _pod(containers, volumes, placement)},
    }
    return child("apps/v1", "Deployment", name, owner, spec=spec)


def _pod(containers: Sequence[Manifest], volumes: Sequence[Manifest], placement: Placement) -> Manifest:
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE,
        # Names of Services with their domain are asked for as they are, not after every search domain.
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": list(volumes),
    }
    if placement.site:
        pod["affinity"] = _at_site(placement.site)
    if placement.compute_class and placement.compute_class != DEFAULT_CLASS:
        pod["runtimeClassName"] = placement.compute_class
    return pod


def _at_site(site: str) -> Manifest:
    """Required node affinity, so the scheduler still checks resources and taints."""
    term = {"matchExpressions": [{"key": labels.SITE, "operator": "In", "values": [site]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


def container(
    name: str,
    image: str,
    *,
    environment: Mapping[str, str],
    mounts: Mapping[str, str],
    resources: Resources,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
    **rest: Any,
) -> Manifest:
    """A container without privileges; ``mounts`` maps volumes to directories, ``rest`` holds ports and probes.

    Its last log lines become the message of a crash, which :mod:`.pod_state` shows.
    """
    content: Manifest = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "volumeMounts": [_mount(volume, path) for volume, path in mounts.items()],
        "resources": resources.model_dump(exclude_defaults=True),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    optional: Manifest = {"command": list(command), "args": list(args), **rest}
    return content | {key: value for key, value in optional.items() if value}


def _mount(volume: str, path: str) -> Manifest:
    return {"name": volume, "mountPath": path} | ({} if volume == SCRATCH else {"readOnly": True})


SCRATCH = "scratch"
"""Name of the one volume that is written to."""


def scratch_volume() -> Manifest:
    return {"name": SCRATCH, "emptyDir": {}}


def secret_volume(
    name: str, secret: str, files: Mapping[str, str] | None = None, *, optional: bool = False
) -> Manifest:
    """A Secret as a directory; ``files`` maps keys to file names, and leaves out the other keys."""
    source: Manifest = {"secretName": secret, "defaultMode": 0o440}
    if files:
        source["items"] = [{"key": key, "path": path} for key, path in files.items()]
    if optional:
        source["optional"] = True
    return {"name": name, "secret": source}


def config_volume(name: str, config_map: str) -> Manifest:
    return {"name": name, "configMap": {"name": config_map}}


def health_probes(port: int) -> Manifest:
    """Probes of our own programs (contracts §2): ready within a second of being so at start, then checked at leisure.

    `/readyz` waits for the bus, so a pod that starts without one is not killed for it before ten minutes.
    """
    ready = {"httpGet": {"path": "/readyz", "port": port}, "timeoutSeconds": 5}
    live = {"httpGet": {"path": "/livez", "port": port}, "timeoutSeconds": 5}
    return {
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {**ready, "periodSeconds": 5},
        "livenessProbe": {**live, "periodSeconds": 10},
    }


def listening_probes(port: int) -> Manifest:
    """Probes of a broker that we did not write: it accepts connections."""
    listens = {"tcpSocket": {"port": port}}
    return {
        "startupProbe": {**listens, "periodSeconds": 1, "failureThreshold": 300},
        "readinessProbe": {**listens, "periodSeconds": 5},
        "livenessProbe": {**listens, "periodSeconds": 20, "timeoutSeconds": 5},
    }
