"""The kinds we use: group, version, plural, scope, and the URL paths that follow.

A static table instead of API discovery: it needs no request at start, no RBAC, and a typo fails at once.
Used by `client` for paths and by the engine for keys; a kind's name is unique in the table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = dict[str, Any]  # a Kubernetes object as the API server's JSON

TEPHRA_GROUP, TEPHRA_VERSION = "tephra.dev", "v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of the API. `group` is empty for the core group."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path; without `namespace` a namespaced kind is addressed across all namespaces."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self.kind} {name}: the kind is namespaced; name the namespace")
        parts = [root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.plural)
        parts.extend(quote(part, safe="") for part in (name, subresource) if part)
        return "/".join(parts)


def _group(group_version: str, *kinds: str, namespaced: bool = True) -> Iterable[Resource]:
    """Table rows; a kind's plural is its lower case + `s` unless given as `Kind:plural`."""
    group, _, version = group_version.rpartition("/")
    for entry in kinds:
        kind, _, plural = entry.partition(":")
        yield Resource(kind, group, version, plural or f"{kind.lower()}s", namespaced)


_RESOURCES: tuple[Resource, ...] = (
    *_group("v1", "Pod", "Service", "Secret", "ConfigMap", "ServiceAccount", "PersistentVolumeClaim"),
    *_group("v1", "ResourceQuota"),
    *_group("v1", "Node", "Namespace", "PersistentVolume", namespaced=False),
    *_group("apps/v1", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"),
    *_group("batch/v1", "Job"),
    *_group("coordination.k8s.io/v1", "Lease"),
    *_group("discovery.k8s.io/v1", "EndpointSlice"),
    *_group("events.k8s.io/v1", "Event"),
    *_group("networking.k8s.io/v1", "NetworkPolicy:networkpolicies"),
    *_group("policy/v1", "PodDisruptionBudget"),
    *_group("rbac.authorization.k8s.io/v1", "Role", "RoleBinding"),
    *_group("rbac.authorization.k8s.io/v1", "ClusterRole", "ClusterRoleBinding", namespaced=False),
    *_group("storage.k8s.io/v1", "StorageClass:storageclasses", namespaced=False),
    *_group("node.k8s.io/v1", "RuntimeClass:runtimeclasses", namespaced=False),
    *_group("apiextensions.k8s.io/v1", "CustomResourceDefinition", namespaced=False),
    *_group(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy:validatingadmissionpolicies",
        "ValidatingAdmissionPolicyBinding",
        namespaced=False,
    ),
    *_group(f"{TEPHRA_GROUP}/{TEPHRA_VERSION}", "Flavour", "ThingVisorType", namespaced=False),
    *_group(f"{TEPHRA_GROUP}/{TEPHRA_VERSION}", "ThingVisor", "VThing", "VSilo"),
)
RESOURCES: Mapping[str, Resource] = {resource.kind: resource for resource in _RESOURCES}


def resource(kind: str) -> Resource:
    """The table's row for `kind`; raises LookupError that lists the known kinds."""
    try:
        return RESOURCES[kind]
    except KeyError:
        known = ", ".join(sorted(RESOURCES))
        raise LookupError(f"kind {kind!r} is not in the table of tephra.kube.resources; known: {known}") from None


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """The row for a manifest; its apiVersion must be the one in the table."""
    found = resource(str(manifest.get("kind")))
    if manifest.get("apiVersion") != found.api_version:
        raise LookupError(f"{found.kind}: apiVersion {manifest.get('apiVersion')!r}; want {found.api_version!r}")
    return found


def describe(kind: str, namespace: str | None, name: str | None) -> str:
    """`VSilo tenant-a/home`: how messages name an object."""
    where = "/".join(part for part in (namespace, name) if part)
    return f"{kind} {where}" if where else kind
