"""What every child has in common: names, labels, ownership; and the small kinds that need no more than data.

Names of children are contracts §1. Neighbours: :mod:`.pods` renders Deployments, :mod:`.network` NetworkPolicies.
"""

import base64
from collections.abc import Mapping
from typing import Any

from tephra.api import API_VERSION, labels
from tephra.formats.names import bus_identity
from tephra.plan.base import Object, View, World

Manifest = dict[str, Any]


def child(api_version: str, kind: str, name: str, owner: Object, **content: Any) -> Manifest:
    """A manifest of what is made for ``owner``, in its namespace: labelled, and deleted with it."""
    meta = {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": owner_labels(owner),
        "ownerReferences": [owner_reference(owner)],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **content}


def owner_labels(owner: Object) -> dict[str, str]:
    meta, kind = owner["metadata"], owner["kind"].lower()
    return {
        labels.MANAGED_BY: labels.TEPHRA,
        labels.COMPONENT: kind,
        labels.OWNER_UID: meta["uid"],
        labels.OWNER_NAME: f"{kind}.{meta['name']}",
    }


def identity_of(owner: Object) -> str:
    """The name of its pod on the bus."""
    return bus_identity(owner["metadata"]["namespace"], owner["metadata"]["name"])


def password_of(owner: Object, world: World) -> str:
    """The password of its pod on the core bus."""
    return world.keys.password(owner["metadata"]["uid"], "bus")


def pod_selector(owner: Object) -> dict[str, str]:
    """The labels that tell the owner's pods from all others; a Deployment's selector can never change."""
    return {labels.OWNER_UID: owner["metadata"]["uid"], labels.COMPONENT: owner["kind"].lower()}


def owner_reference(owner: Object) -> Manifest:
    meta = owner["metadata"]
    return {
        "apiVersion": API_VERSION,
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }


def live(world: View, kind: str, name: str, owner: Object) -> Object | None:
    """The owner's child as the cluster holds it; None also for an object of that name that is somebody else's."""
    meta = owner["metadata"]
    item = world.get(kind, meta["namespace"], name)
    mine = item is not None and (item["metadata"].get("labels") or {}).get(labels.OWNER_UID) == meta["uid"]
    return item if mine else None


def is_ours(item: Object) -> bool:
    """Whether the operator made it, so may change and delete it."""
    return (item["metadata"].get("labels") or {}).get(labels.MANAGED_BY) == labels.TEPHRA


def secret(name: str, owner: Object, data: Mapping[str, str]) -> Manifest:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return child("v1", "Secret", name, owner, type="Opaque", data=encoded)


def bus_secret(name: str, owner: Object, *, url: str, username: str, password: str, ca: str) -> Manifest:
    """How a pod reaches the core bus (contracts §2)."""
    return secret(name, owner, {"url": url, "username": username, "password": password, "ca.crt": ca})


def config_map(name: str, owner: Object, data: Mapping[str, str]) -> Manifest:
    return child("v1", "ConfigMap", name, owner, data=dict(data))


def service(name: str, owner: Object, ports: Mapping[str, int], type_: str = "ClusterIP") -> Manifest:
    """A Service that also names a pod that is not ready yet: it has one pod, so there is no better one to wait for,
    and clients reach it as soon as it listens."""
    spec = {
        "type": type_,
        "selector": pod_selector(owner),
        "publishNotReadyAddresses": True,
        "ports": [
            {"name": port, "port": number, "targetPort": number, "protocol": "TCP"} for port, number in ports.items()
        ],
    }
    return child("v1", "Service", name, owner, spec=spec)
