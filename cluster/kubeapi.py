"""A small Kubernetes client on the standard library: requests, server-side apply and watches.

The launcher and its helpers use it, so that they work before anything is installed. It is blocking;
a watcher runs in a thread of its own.
"""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

from cluster.spec import API_PORT_INSIDE, HUB_ADDRESS, Cluster

Object = dict[str, Any]
FIELD_MANAGER = "tephra-cluster"
# Kinds that the launcher applies: kind → (API prefix, plural, namespaced).
KINDS = {
    "ClusterRole": ("/apis/rbac.authorization.k8s.io/v1", "clusterroles", False),
    "ClusterRoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", False),
    "ConfigMap": ("/api/v1", "configmaps", True),
    "Deployment": ("/apis/apps/v1", "deployments", True),
    "Node": ("/api/v1", "nodes", False),
    "PersistentVolume": ("/api/v1", "persistentvolumes", False),
    "Service": ("/api/v1", "services", True),
    "ServiceAccount": ("/api/v1", "serviceaccounts", True),
    "StorageClass": ("/apis/storage.k8s.io/v1", "storageclasses", False),
}


class ApiError(Exception):
    """An answer of the API server that is not a success; `code` is the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Api:
    """The API server as seen by one client certificate."""

    def __init__(self, cluster: Cluster, client: str = "admin", inside: bool = False) -> None:
        self.host = HUB_ADDRESS if inside else "127.0.0.1"
        self.port = API_PORT_INSIDE if inside else cluster.api_port
        self.tls = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
        self.tls.load_cert_chain(cluster.pki / f"{client}.crt", cluster.pki / f"{client}.key")

    def connect(self, timeout: float) -> http.client.HTTPSConnection:
        """A new connection; `timeout` in seconds bounds each wait for bytes."""
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=timeout)

    def request(self, method: str, path: str, body: Object | None = None, kind: str = "json") -> Object:
        """One request; returns the decoded answer. Raises ApiError, or OSError if the server is away."""
        connection = self.connect(30)
        try:
            content = {"json": "application/json", "apply": "application/apply-patch+yaml"}[kind]
            data = json.dumps(body) if body is not None else None
            connection.request(method, path, data, {"Content-Type": content, "Accept": "application/json"})
            response = connection.getresponse()
            text = response.read().decode()
        except http.client.HTTPException as error:
            raise OSError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if response.status >= 300:
            raise ApiError(response.status, text)
        return cast(Object, json.loads(text)) if text.startswith("{") else {"text": text}

    def apply(self, resource: Object) -> Object:
        """Server-side apply of one object of a kind in KINDS."""
        path = f"{path_of(resource)}?fieldManager={FIELD_MANAGER}&force=true"
        return self.request("PATCH", path, resource, kind="apply")

    def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            return self.request("GET", "/readyz").get("text") == "ok"
        except (OSError, ApiError):
            return False

    def watch(self, path: str) -> Iterator[tuple[str, Object]]:
        """Follow a collection for ever: ("LIST", the list) first and after each loss, then its events."""
        while True:
            try:
                listing = self.request("GET", path)
                yield "LIST", listing
                yield from self._events(path, listing["metadata"]["resourceVersion"])
            except (OSError, ApiError, http.client.HTTPException, ValueError):
                time.sleep(0.2)  # the server is away or forgot the version: list again

    def _events(self, path: str, version: str) -> Iterator[tuple[str, Object]]:
        connection = self.connect(330)
        try:
            query = f"?watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion={version}"
            connection.request("GET", path + query, headers={"Accept": "application/json"})
            response = connection.getresponse()
            if response.status != 200:
                raise ApiError(response.status, response.read().decode())
            while line := response.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]
        finally:
            connection.close()


def path_of(resource: Object) -> str:
    """URL path of an object of a kind in KINDS."""
    prefix, plural, namespaced = KINDS[resource["kind"]]
    metadata = resource["metadata"]
    scope = f"/namespaces/{metadata['namespace']}" if namespaced else ""
    return f"{prefix}{scope}/{plural}/{metadata['name']}"


def wait_until(what: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Poll until `what()` is true; False if that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True
