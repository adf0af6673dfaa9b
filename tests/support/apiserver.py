"""A real API server for tests that need no nodes: etcd and kube-apiserver on free loopback ports, up in seconds.

Programs come from ``KUBEBUILDER_ASSETS`` or from ``cluster.build.assets()`` (built once, then cached). Users: the
tests of the API (``tests/properties``, ``tests/unit``), of the kernel and engine, and their benchmarks.
"""

import asyncio
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tephra.kube.client import Client
from tephra.kube.config import load
from tephra.kube.errors import BadRequest, Invalid
from tephra.kube.resources import resource

CRDS = Path(__file__).parents[2] / "crds"
START_LIMIT_S = 60.0


@dataclass(frozen=True)
class ApiServer:
    """A running API server: ``kubeconfig`` is of a member of system:masters."""

    url: str
    kubeconfig: Path
    folder: Path
    process: "subprocess.Popen[bytes]"

    def client(self) -> Client:
        return Client(load(str(self.kubeconfig)))

    @property
    def audit_log(self) -> Path:
        """One JSON event a line for every mutating request (level Metadata)."""
        return self.folder / "audit.log"

    def writes(self, name: str = "") -> Counter[str]:
        """Mutating requests of our clients by resource (and subresource), from the audit log; of one object or all."""
        made: Counter[str] = Counter()
        for line in self.audit_log.read_text().splitlines():
            event = json.loads(line)
            target = event["objectRef"]
            if event["userAgent"].startswith(("tephra", "kopf")) and name in {"", target.get("name")}:
                made["/".join(filter(None, (target["resource"], target.get("subresource"))))] += 1
        return made


def program(name: str) -> str:
    """Path of ``etcd`` or ``kube-apiserver``; raises when it can neither be found nor built."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if given:
        return str(Path(given) / name)
    from cluster.build import assets

    return str(assets() / name)


@contextmanager
def running(extra_flags: Sequence[str] = ()) -> Iterator[ApiServer]:
    """Start both, wait until ready, and leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="tephra-apiserver-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        client_port, peer_port, port = _free_ports(3)
        etcd = f"http://127.0.0.1:{client_port}"
        stack.enter_context(_process(folder, "etcd", _etcd_flags(folder, etcd, f"http://127.0.0.1:{peer_port}")))
        token = secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f"{token},tester,tester,system:masters\n")
        flags = [*_apiserver_flags(folder, etcd, port), *extra_flags]
        process = stack.enter_context(_process(folder, "kube-apiserver", flags))
        server = ApiServer(f"https://127.0.0.1:{port}", folder / "kubeconfig", folder, process)
        _write_kubeconfig(server, token)
        _wait_ready(server, token)
        yield server


def _etcd_flags(folder: Path, client: str, peer: str) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",
        "--log-level=error",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    ]


def _apiserver_flags(folder: Path, etcd: str, port: int) -> list[str]:
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
    }
    (folder / "audit-policy.yaml").write_text(yaml.safe_dump(policy))
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        f"--audit-policy-file={folder / 'audit-policy.yaml'}",
        f"--audit-log-path={folder / 'audit.log'}",
        "--profiling=false",
    ]


@contextmanager
def _process(folder: Path, name: str, flags: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([program(name), *flags], stdout=log, stderr=log, cwd=folder)
    try:
        yield process
    finally:
        process.kill()  # nothing in it is worth a graceful stop
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _write_kubeconfig(server: ApiServer, token: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "tester", "namespace": "default"}}],
        "clusters": [{"name": "test", "cluster": {"server": server.url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "tester", "user": {"token": token}}],
    }
    server.kubeconfig.write_text(yaml.safe_dump(config))


def _wait_ready(server: ApiServer, token: str) -> None:
    """Poll until the default namespace is there: the last thing a fresh API server makes for its users."""
    context = ssl._create_unverified_context()
    request = urllib.request.Request(
        f"{server.url}/api/v1/namespaces/default", headers={"Authorization": f"Bearer {token}"}
    )
    deadline = time.monotonic() + START_LIMIT_S
    while server.process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(request, context=context, timeout=5).close()
        except OSError:
            time.sleep(0.05)  # polling is all that another program's start offers
        else:
            return
    log = (server.folder / "kube-apiserver.log").read_text(errors="replace")[-3000:]
    raise RuntimeError(f"kube-apiserver did not become ready; its log ends:\n{log}")


async def install_crds(client: Client, folder: Path = CRDS) -> None:
    """Apply every CRD of the repository and wait until all are served."""
    manifests = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]
    for manifest in manifests:
        await client.apply(manifest)
    await asyncio.gather(*(established(client, manifest["metadata"]["name"]) for manifest in manifests))


async def established(client: Client, name: str) -> dict[str, str]:
    """Conditions of a CRD (type → status) once it is Established."""
    while True:
        found = await client.get("CustomResourceDefinition", name)
        conditions = {item["type"]: item["status"] for item in (found.get("status", {}).get("conditions") or ())}
        if conditions.get("Established") == "True":
            return conditions
        await asyncio.sleep(0.05)


async def refusal(client: Client, manifest: Mapping[str, Any]) -> str:
    """What the API server says against creating ``manifest`` in namespace default ("" when it takes it); dry run."""
    found = resource(manifest["kind"])
    path = found.path("default" if found.namespaced else None)
    try:
        await client.raw("POST", f"{path}?dryRun=All&fieldValidation=Strict", body=manifest)
    except (Invalid, BadRequest) as error:
        return error.message
    return ""
