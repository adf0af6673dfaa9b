"""The installed system as its users handle it: kubectl, helm, manifests, conditions.

Everything waits on the API server's watch (`kubectl wait`), never on time. Neighbours: `tests/cluster/conftest.py`
makes one; `tests/support/tenant.py` is the client at the other end.
"""

import base64
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tephra.api.kinds import KINDS
from tests.support import tenant

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "tephra-system"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class System:
    """A cluster, reached by the binaries in `assets` with `kubeconfig`."""

    kubeconfig: str
    assets: str

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command with this cluster's kubectl, helm and kubeconfig; the error shows what it printed."""
        path = os.pathsep.join([str(ROOT / ".venv/bin"), self.assets, os.environ["PATH"]])
        environment = os.environ | {"KUBECONFIG": self.kubeconfig, "PATH": path}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, input=stdin, text=True, capture_output=True, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of a kubectl command that must succeed."""
        return self.run("kubectl", *arguments, stdin=stdin).stdout

    def helm(self, *arguments: str) -> str:
        """Output of a helm command that must succeed."""
        return self.run("helm", *arguments).stdout

    def install(self, *settings: str) -> None:
        """Install or upgrade the chart with the images of build/images."""
        options = [part for setting in settings for part in ("--set", setting)]
        self.helm(
            *("upgrade", "--install", "tephra", "charts/tephra", "-n", NAMESPACE, "--create-namespace"),
            *("-f", "build/images/values.yaml", "--set", "silo.externalAddress=127.0.0.1", *options),
            *("--wait", "--timeout", "5m"),
        )

    def apply(self, *manifests: Mapping[str, Any] | Path) -> None:
        """Server-side apply of manifests or files, with strict field validation."""
        for manifest in manifests:
            if isinstance(manifest, Path):
                self.kubectl("apply", "--server-side", "-f", str(manifest))
            else:
                self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(dict(manifest)))

    def refused(self, manifest: Mapping[str, Any]) -> str:
        """What the API server says against a manifest that it must refuse."""
        done = self.run(
            "kubectl", "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(dict(manifest)), check=False
        )
        assert done.returncode, f"accepted: {manifest}"
        return done.stderr

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """One object as JSON."""
        where = ("-n", namespace) if namespace else ()
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, *where, "-o", "json"))
        return found

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind in a namespace (None: everywhere)."""
        where = ("-n", namespace) if namespace else ("-A",)
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, *where, "-l", selector, "-o", "json"))[
            "items"
        ]
        return items

    def wait(
        self, kind: str, name: str, namespace: str | None, what: str = "condition=Ready", timeout: int = 90
    ) -> None:
        """Wait for a condition or a JSON path; the failure shows the object's status."""
        where = ("-n", namespace) if namespace else ()
        done = self.run(
            "kubectl", "wait", f"{kind}/{name}", *where, f"--for={what}", f"--timeout={timeout}s", check=False
        )
        if done.returncode:
            status = self.run("kubectl", "get", kind, name, *where, "-o", "jsonpath={.status}", check=False)
            raise AssertionError(f"{kind}/{name} is not {what}: {done.stderr.strip()}\nstatus: {status.stdout}")

    def wait_reason(
        self, kind: str, name: str, namespace: str | None, type_: str, reason: str, timeout: int = 90
    ) -> str:
        """Wait until the condition has this reason; returns its message."""
        path = f'{{.status.conditions[?(@.type=="{type_}")].reason}}'
        self.wait(kind, name, namespace, f"jsonpath={path}={reason}", timeout)
        found = condition(self.get(kind, name, namespace), type_)
        return str(found["message"])

    def wait_event(self, name: str, namespace: str, reason: str) -> None:
        """Wait until there is an Event about the object with this reason; it is written after the status."""
        about = f"--field-selector=regarding.name={name},reason={reason}"
        self.kubectl("wait", "events.events.k8s.io", "-n", namespace, about, "--for=create", "--timeout=20s")

    def secret(self, name: str, namespace: str) -> dict[str, str]:
        """The decoded keys of a Secret."""
        return self.decode(self.get("secret", name, namespace))

    @staticmethod
    def decode(secret: Mapping[str, Any]) -> dict[str, str]:
        """The decoded keys of a Secret object."""
        return {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}

    def restart_operator(self) -> None:
        """A new leader, which plans every object anew; returns when it has."""
        self.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/tephra-operator")
        self.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/tephra-operator", "--timeout=90s")
        self.await_planned()

    def await_planned(self) -> None:
        """Wait until the operator leads and has passed over every object in its cache."""
        while not self._planned():
            time.sleep(0.2)  # counters cannot be waited for, only read

    def _planned(self) -> bool:
        """Whether that is so by the operator's own metrics."""
        pods = self.list("pods", NAMESPACE, "app.kubernetes.io/component=operator")
        (pod,) = (pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
        text = self.kubectl("get", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics")
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        total: Counter[tuple[str, str]] = Counter()
        for sample in samples:
            total[sample.name, sample.labels.get("kind", "")] += sample.value  # type: ignore[assignment]
        passed = (total["tephra_reconcile_total", kind] >= total["tephra_objects", kind] for kind in KINDS)
        busy = total["tephra_queue_depth", ""] + total["tephra_queue_active", ""]
        return total["tephra_leader", ""] == 1 and not busy and all(passed)

    @contextmanager
    def namespace(self, prefix: str, **labels: str) -> Iterator[str]:
        """A restricted namespace of its own name, deleted at the end."""
        name = f"{prefix}-{uuid4().hex[:6]}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED | labels}})
        try:
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    @contextmanager
    def at_silo(self, name: str, namespace: str, protocol: str = "mqtts") -> Iterator[tenant.Tenant]:
        """The tenant, connected to its broker from outside the cluster."""
        endpoints = self.get("vsilo", name, namespace)["status"]["endpoints"]
        url = next(endpoint["external"] for endpoint in endpoints if endpoint["protocol"] == protocol)
        keys = self.secret(f"{name}-credentials", namespace)
        with tenant.connected(url, keys["user"], keys["password"], keys["ca.crt"]) as client:
            yield client


def condition(item: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    """The condition of that type; empty when there is none."""
    found = (c for c in item.get("status", {}).get("conditions", []) if c["type"] == type_)
    return next(found, {})


def custom(kind: str, namespace: str | None, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest of one of our kinds."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "tephra.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec)}


def hello(namespace: str, name: str = "hello", **params: Any) -> dict[str, Any]:
    """A helloworld ThingVisor."""
    return custom("ThingVisor", namespace, name, {"type": "helloworld", "params": params})


def silo(namespace: str, name: str, *things: str, **more: Any) -> dict[str, Any]:
    """A VSilo of flavour mqtt that can be reached from the test."""
    spec = {"flavour": "mqtt", "exposure": "NodePort", "vThings": [{"id": thing} for thing in things]}
    return custom("VSilo", namespace, name, spec | more)
