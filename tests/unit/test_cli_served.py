"""The plugin before a real API server and a real broker: status, why, tail, uninstall, version."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tephra.api import API_VERSION
from tephra.api.kinds import KINDS
from tephra.bus.client import BusClient, Session
from tephra.bus.roles import Access, Rule
from tephra.cli.main import ERROR, OK, TIMEOUT, USAGE, main
from tests.support import apiserver
from tests.support.mosquitto import Mosquitto

Objects = list[dict[str, Any]]


@dataclass
class Shell:
    """Runs the plugin and changes the cluster behind its back."""

    server: apiserver.ApiServer
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        code = main([*arguments, "--kubeconfig", str(self.server.kubeconfig)])
        return code, *self.capsys.readouterr()

    def apply(self, *manifests: dict[str, Any]) -> Objects:
        async def work() -> Objects:
            async with self.server.client() as kube:
                return [await kube.apply(manifest) for manifest in manifests]

        return asyncio.run(work())

    def report(self, manifest: dict[str, Any], *conditions: dict[str, Any], **status: Any) -> None:
        async def work() -> None:
            async with self.server.client() as kube:
                identity = {key: manifest[key] for key in ("apiVersion", "kind", "metadata")}
                said = {"observedGeneration": 1, "conditions": list(conditions), **status}
                await kube.apply_status({**identity, "status": said})

        asyncio.run(work())


@pytest.fixture
def shell(api_server: apiserver.ApiServer, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(api_server, capsys)


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def custom(kind: str, where: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"namespace": where, "name": name}, "spec": spec}


def condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    when = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    return {"type": type_, "status": status, "reason": reason, "message": message, **when}


def stalled(reason: str, message: str) -> Objects:
    return [condition("Ready", "False", reason, message), condition("Stalled", "True", reason, message)]


def test_status_of_a_namespace_and_of_one_object(shell: Shell) -> None:
    visor, silo = custom("ThingVisor", "cli-a", "w", type="weather"), custom("VSilo", "cli-a", "s", flavour="mqtt")
    thing = custom("VThing", "cli-a", "w.a", id="w/a")
    shell.apply(namespace("cli-a"), visor, silo, thing)
    shell.report(visor, condition("Ready", "True", "Ready", "serves"), condition("PodReady", "True", "Running"))
    code, printed, _ = shell.run("-n", "cli-a", "status")
    assert (code, printed.splitlines()) == (
        OK,
        [
            "✓ ThingVisor cli-a/w  Ready: serves",
            "└─ … VThing cli-a/w.a (w/a)  not yet seen by the operator",
            "… VSilo cli-a/s  not yet seen by the operator",
        ],
    )
    code, printed, _ = shell.run("status", "tv/w", "-n", "cli-a")
    assert "├─ ✓ Condition PodReady  Running" in printed
    everything = json.loads(shell.run("status", "-A", "-o", "json")[1])
    assert "cli-a/s" in {node["name"] for node in everything["items"]}


def test_status_of_an_empty_namespace_says_so(shell: Shell) -> None:
    assert shell.run("status", "-n", "nowhere")[:2] == (OK, "Nothing of Tephra in namespace nowhere; try -A.\n")


def test_absent_object_is_named_with_the_next_step(shell: Shell) -> None:
    code, _, error = shell.run("why", "vsilo/nobody", "-n", "cli-a")
    assert code == ERROR
    assert "VSilo nobody does not exist in namespace cli-a; kubectl get vsilos -A lists what there is" in error


def test_namespaced_object_needs_a_namespace(shell: Shell) -> None:
    assert shell.run("why", "vsilo/x", "-A")[0] == USAGE


def test_why_follows_the_blame_across_namespaces(shell: Shell) -> None:
    visor, silo = custom("ThingVisor", "cli-b", "w", type="none"), custom("VSilo", "cli-c", "s", flavour="mqtt")
    shell.apply(namespace("cli-b"), namespace("cli-c"), visor, silo)
    shell.report(visor, *stalled("TypeNotFound", "ThingVisorType none does not exist"))
    waiting = [{"id": "cli-b/w/a", "state": "Pending"}]
    shell.report(silo, condition("Ready", "False", "ThingVisorNotReady", "cli-b/w is starting"), vThings=waiting)
    code, printed, _ = shell.run("why", "vsilo/s", "-n", "cli-c")
    assert code == OK
    first, second = printed.splitlines()
    assert first.startswith("VSilo cli-c/s is not Ready: cli-b/w is starting (ThingVisorNotReady). Next: ")
    assert second.startswith(
        "ThingVisor cli-b/w is not Ready: ThingVisorType none does not exist (TypeNotFound). Next: "
    )


def test_why_without_an_operator_says_that(shell: Shell) -> None:
    shell.apply(namespace("cli-d"), custom("VSilo", "cli-d", "s", flavour="mqtt"))
    _, printed, _ = shell.run("why", "vs/s", "-n", "cli-d")
    assert printed.startswith("VSilo cli-d/s waits: the operator has not looked at it yet. Next: ")
    assert "Lease" in printed


def test_version_asks_the_cluster(shell: Shell) -> None:
    code, printed, _ = shell.run("version")
    assert code == OK
    assert "kubernetes: v1." in printed


# --- tail, at a real broker with TLS and a password

USER, PASSWORD = "tenant", "secret"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    role = frozenset({Rule(access, "#") for access in Access})
    with Mosquitto(tmp_path, dynsec=True, tls=True) as running:
        asyncio.run(running.add_client(USER, PASSWORD, role))
        yield running


Made = Callable[..., str]


@pytest.fixture
def silo_at(shell: Shell, broker: Mosquitto) -> Made:
    """``silo_at(namespace, password)``: a VSilo whose status names the broker, with its Secret."""

    def make(where: str, password: str = PASSWORD) -> str:
        silo = custom("VSilo", where, "s", flavour="mqtt")
        data = {"user": USER, "password": password, "ca.crt": broker.ca_file.read_text()}
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        meta = {"namespace": where, "name": "s-credentials"}
        shell.apply(namespace(where), silo, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": encoded})
        shell.report(silo, endpoint={"protocol": "mqtts", "external": broker.url, "secretName": "s-credentials"})
        return where

    return make


def publish(broker: Mosquitto, *values: str) -> None:
    async def work() -> None:
        session = Session(client_id="test", clean_start=True)
        async with BusClient(broker.endpoint(USER, PASSWORD), session) as bus:
            for number, value in enumerate(values):
                await bus.publish(f"room/{number}", value.encode(), retain=True)

    asyncio.run(work())


def test_tail_prints_what_the_tenant_receives(shell: Shell, broker: Mosquitto, silo_at: Made) -> None:
    where = silo_at("cli-tail")
    publish(broker, '{"id": "x", "type": "Room", "t": {"value": 21}}', '"plain"')
    code, printed, _ = shell.run("tail", "vsilo/s", "-n", where, "--count", "2", "--timeout", "20")
    assert code == OK
    assert sorted(line.partition(" ")[2] for line in printed.splitlines()) == [
        "room/0 (retained) Room t=21",
        "room/1 (retained) plain",
    ]
    code, printed, _ = shell.run("tail", "vs/s", "-n", where, "-o", "json", "--topic", "room/0", "--count", "1")
    assert json.loads(printed)["payload"]["t"] == {"value": 21}


def test_tail_ends_with_4_when_too_little_comes(shell: Shell, silo_at: Made) -> None:
    code, _, error = shell.run("tail", "vsilo/s", "-n", silo_at("cli-quiet"), "--count", "1", "--timeout", "0.5")
    assert code == TIMEOUT
    assert "fewer messages" in error


def test_tail_with_a_wrong_password_says_so(shell: Shell, silo_at: Made) -> None:
    code, _, error = shell.run("tail", "vsilo/s", "-n", silo_at("cli-wrong", "guess"))
    assert code == ERROR
    assert "refused user 'tenant'" in error


def test_tail_of_an_unexposed_silo_says_what_to_do(shell: Shell) -> None:
    shell.apply(namespace("cli-inside"), custom("VSilo", "cli-inside", "s", flavour="mqtt"))
    code, _, error = shell.run("tail", "vsilo/s", "-n", "cli-inside")
    assert code == ERROR
    assert "exposure ClusterIP" in error
    assert "NodePort" in error


def test_tail_of_another_kind_is_wrong_usage(shell: Shell) -> None:
    assert shell.run("tail", "thingvisor/w")[0] == USAGE


# --- uninstall, on an API server of its own


@pytest.fixture(scope="module")
def doomed() -> Iterator[apiserver.ApiServer]:
    with apiserver.running() as server:
        yield server


def test_uninstall_lists_asks_and_sweeps(
    doomed: apiserver.ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell(doomed, capsys)
    asyncio.run(install(doomed))
    labels = {"app.kubernetes.io/part-of": "tephra"}
    helm = {"meta.helm.sh/release-name": "tephra", "meta.helm.sh/release-namespace": "sys"}
    role = {"name": "tephra", "labels": labels, "annotations": helm}
    shell.apply(
        namespace("sys"),
        namespace("tenant"),
        custom("VSilo", "tenant", "s", flavour="mqtt"),
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": role, "rules": []},
        secret("sys", "tephra-ca", **{"app.kubernetes.io/managed-by": "tephra"}),
        secret("sys", "sh.helm.release.v1.tephra.v1", owner="helm", name="tephra"),
        secret("sys", "somebody-elses"),
    )
    expected = [
        *("VSilo tenant/s", "ClusterRole tephra", "Secret sys/tephra-ca", "Secret sys/sh.helm.release.v1.tephra.v1"),
        *(f"CustomResourceDefinition {info.plural}.tephra.dev" for info, *_ in KINDS.values()),
    ]
    code, printed, _ = shell.run("uninstall", "--dry-run")
    assert (code, set(printed.splitlines())) == (OK, {f"would delete {each}" for each in expected})
    monkeypatch.setattr("builtins.input", lambda _: "no")
    assert shell.run("uninstall")[0] == ERROR
    assert len(shell.run("uninstall", "--dry-run")[1].splitlines()) == len(expected)
    assert shell.run("uninstall", "--yes", "--timeout", "30")[0] == OK
    assert shell.run("uninstall", "--dry-run")[:2] == (OK, "Nothing of Tephra in this cluster.\n")
    assert asyncio.run(secrets_of(doomed, "sys")) == ["somebody-elses"]


def secret(where: str, name: str, /, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": where, "name": name, "labels": labels}}


async def install(server: apiserver.ApiServer) -> None:
    async with server.client() as kube:
        await apiserver.install_crds(kube)


async def secrets_of(server: apiserver.ApiServer, where: str) -> list[str]:
    async with server.client() as kube:
        answer = await kube.raw("GET", f"/api/v1/namespaces/{where}/secrets")
    return [each["metadata"]["name"] for each in answer["items"]]
