"""Test part: dynamic volumes of the StorageClass `local`, directories on the machine's disk.

It stands in for a storage vendor's provisioner: for a claim whose pod has been given a node it makes
a directory and a PersistentVolume bound to that node, and removes both when the claim is gone. The
size of a claim is recorded, not enforced. `cluster.agent` runs `follow_claims` and `follow_volumes`.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.kubeapi import Api, ApiError, Object
from cluster.manifests import PROVISIONER, STORAGE_CLASS
from cluster.spec import Cluster

CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
SELECTED_NODE = "volume.kubernetes.io/selected-node"


def directory(cluster: Cluster, volume: str) -> Path:
    """Where a volume's files are."""
    return cluster.dir / "volumes" / volume


def is_waiting(claim: Object) -> bool:
    """Whether a claim is ours to serve: our class, a node was chosen, not bound, not being deleted."""
    metadata, spec = claim["metadata"], claim["spec"]
    chosen = SELECTED_NODE in metadata.get("annotations", {})
    ours = spec.get("storageClassName") == STORAGE_CLASS and not spec.get("volumeName")
    return chosen and ours and "deletionTimestamp" not in metadata


def volume_for(cluster: Cluster, claim: Object) -> Object:
    """The PersistentVolume that serves a claim."""
    metadata, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{metadata['uid']}"
    node = metadata["annotations"][SELECTED_NODE]
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": str(directory(cluster, name))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        },
    }


def is_released(volume: Object) -> bool:
    """Whether a volume is ours and its claim is gone."""
    made_by = volume["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by")
    return bool(made_by == PROVISIONER) and volume.get("status", {}).get("phase") == "Released"


def provision(cluster: Cluster, api: Api, claim: Object) -> None:
    """Make the directory, then the volume."""
    volume = volume_for(cluster, claim)
    directory(cluster, volume["metadata"]["name"]).mkdir(parents=True, exist_ok=True)
    api.apply(volume)
    print(f"provisioned {volume['metadata']['name']} for {claim['metadata']['namespace']}", flush=True)


def reclaim(cluster: Cluster, api: Api, volume: Object) -> None:
    """Remove the files, then the volume."""
    name = volume["metadata"]["name"]
    shutil.rmtree(directory(cluster, name), ignore_errors=True)
    api.request("DELETE", f"{VOLUMES}/{name}")
    print(f"reclaimed {name}", flush=True)


def follow_claims(cluster: Cluster, api: Api) -> None:
    """Serve claims for ever."""
    for claim in current(api, CLAIMS):
        if is_waiting(claim):
            with logged():
                provision(cluster, api, claim)


def follow_volumes(cluster: Cluster, api: Api) -> None:
    """Reclaim released volumes for ever."""
    for volume in current(api, VOLUMES):
        if is_released(volume):
            with logged():
                reclaim(cluster, api, volume)


def current(api: Api, path: str) -> Iterator[Object]:
    """Every object of a collection, and every later state of one that is not its deletion."""
    for kind, found in api.watch(path):
        if kind != "DELETED":
            yield from found["items"] if kind == "LIST" else [found]


@contextmanager
def logged() -> Iterator[None]:
    """Log what fails: it comes back with the next list or event."""
    try:
        yield
    except (ApiError, OSError) as error:
        print(f"volumes: {error}", file=sys.stderr, flush=True)
