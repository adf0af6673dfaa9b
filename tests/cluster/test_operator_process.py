"""The operator as a process, as its pod runs it: start, health, signals, an API server that is away."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from tephra.act import config as configuration
from tephra.app import LEASE, read_keys
from tephra.kube.client import Client
from tests.support.apiserver import ApiServer, program
from tests.support.mosquitto import ADMIN, PASSWORD, Mosquitto, free_port

NAMESPACE = "default"


class Operator:
    """One process and its health port."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self._port = process, port

    async def ask(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self._port}{path}") as answer:
            return answer.status, await answer.text()

    async def until(self, path: str, code: int) -> str:
        """Wait for that answer."""
        async with asyncio.timeout(30):
            while True:
                try:
                    found, text = await self.ask(path)
                except aiohttp.ClientError:
                    found, text = 0, ""
                if found == code:
                    return text
                await asyncio.sleep(0.05)

    async def until_metric(self, line: str) -> None:
        """Wait until the metrics hold that line; the process may be replacing itself meanwhile."""
        async with asyncio.timeout(30):
            while line not in await self.until("/metrics", 200):
                await asyncio.sleep(0.05)

    async def end(self, signal_: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(signal_)
        return await asyncio.wait_for(self.process.wait(), 15)


@asynccontextmanager
async def operator(kubeconfig: Path, broker_url: str, folder: Path, port: int = 0) -> AsyncIterator[Operator]:
    """A running operator with a bus of the administrator's own."""
    port = port or free_port()
    bus = folder / "bus"
    bus.mkdir(exist_ok=True)
    (bus / "username").write_text(ADMIN)
    (bus / "password").write_text(PASSWORD)
    chosen = {
        "KUBECONFIG": str(kubeconfig),
        "TEPHRA_NAMESPACE": NAMESPACE,
        "TEPHRA_BUS_URL": broker_url,
        "TEPHRA_BUS_MANAGED": "false",
        "TEPHRA_BUS_DIR": str(bus),
        "TEPHRA_HEALTH_PORT": str(port),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tephra.app", env={**os.environ, **chosen}, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield Operator(process, port)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_leads_reconciles_and_hands_over_when_told_to_stop(api_server: ApiServer, tmp_path: Path) -> None:
    thing = {
        "apiVersion": "tephra.dev/v1alpha1",
        "kind": "VThing",
        "metadata": {"namespace": NAMESPACE, "name": "nobody.lamp"},
        "spec": {"id": "nobody/lamp"},
    }
    async with api_server.client() as kube:
        with Mosquitto(tmp_path, dynsec=True) as broker:
            async with operator(api_server.kubeconfig, broker.url, tmp_path) as running:
                assert await running.until("/readyz", 200) == "ok\n"
                await kube.create(thing)
                await reconciled(kube, "nobody.lamp")
                _, metrics = await running.ask("/metrics")
                assert "tephra_leader 1.0" in metrics
                assert 'tephra_kube_requests_total{code="200",kind="VThing",verb="apply_status"}' in metrics
                assert await running.end() == 0
        assert api_server.writes("nobody.lamp")["vthings/status"] == 1
        lease = await kube.get("Lease", LEASE, NAMESPACE)
        assert lease["spec"]["holderIdentity"] == "", "a standby need not wait"
        await kube.delete("VThing", "nobody.lamp", NAMESPACE)


async def reconciled(kube: Client, name: str) -> None:
    async with asyncio.timeout(30):
        while (await kube.get("VThing", name, NAMESPACE))["status"]["observedGeneration"] != 1:
            await asyncio.sleep(0.05)


async def test_an_api_server_that_is_away_is_waited_for(api_server: ApiServer, tmp_path: Path) -> None:
    away = tmp_path / "kubeconfig"
    away.write_text(api_server.kubeconfig.read_text().replace(api_server.url, f"https://127.0.0.1:{free_port()}"))
    async with operator(away, "mqtt://127.0.0.1:1", tmp_path) as running:
        assert await running.until("/livez", 200) == "ok\n", "a restart would mend nothing"
        assert "not started yet" in await running.until("/readyz", 503)
        assert await running.end() == 0


async def test_a_port_that_is_taken_is_told(api_server: ApiServer, tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        async with operator(api_server.kubeconfig, "mqtt://127.0.0.1:1", tmp_path, port) as running:
            _, errors = await asyncio.wait_for(running.process.communicate(), 30)
            assert running.process.returncode == 1
    assert f"health port {port}".encode() in errors
    assert b"next: set TEPHRA_HEALTH_PORT" in errors


async def test_who_lost_the_lease_stands_by_in_the_same_container(api_server: ApiServer, tmp_path: Path) -> None:
    async with api_server.client() as kube:
        with Mosquitto(tmp_path, dynsec=True) as broker:
            async with operator(api_server.kubeconfig, broker.url, tmp_path) as running:
                await running.until_metric("tephra_leader 1.0")
                await hand_lease_to(kube, "usurper")
                await running.until_metric("tephra_leader 0.0")
                assert await running.until("/readyz", 200) == "ok\n", "a standby with warm caches"
                await hand_lease_to(kube, "")
                await running.until_metric("tephra_leader 1.0")
                assert running.process.returncode is None, "no restart that the kubelet counts"
        await kube.delete("Lease", LEASE, NAMESPACE)


async def hand_lease_to(kube: Client, holder: str) -> None:
    lease = await kube.get("Lease", LEASE, NAMESPACE)
    lease["spec"]["holderIdentity"] = holder
    await kube.apply(lease_of(lease), manager="usurper")


async def test_permissions_that_the_api_server_does_not_know_yet_are_waited_for(api_server: ApiServer) -> None:
    """It forbids everything while it is starting."""
    refused = asyncio.Event()

    def observe(_verb: str, _kind: str, code: int, _seconds: float) -> None:
        if code == 403:
            refused.set()

    newcomer = replace(api_server.client().config, impersonate="newcomer")
    async with Client(newcomer, observer=observe) as kube, asyncio.timeout(30):
        reading = asyncio.create_task(read_keys(kube, configuration.read({"TEPHRA_NAMESPACE": NAMESPACE})))
        await refused.wait()
        kubectl = [program("kubectl"), f"--kubeconfig={api_server.kubeconfig}", "create", "clusterrolebinding"]
        await (
            await asyncio.create_subprocess_exec(*kubectl, "newcomer", "--clusterrole=cluster-admin", "--user=newcomer")
        ).wait()
        assert (await reading).password("uid", "bus")


def lease_of(item: dict[str, object]) -> dict[str, object]:
    """What an apply may carry."""
    metadata = {"namespace": NAMESPACE, "name": LEASE}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": metadata, "spec": item["spec"]}


@pytest.mark.parametrize("variable", ["TEPHRA_BUS_MANAGED=perhaps", "TEPHRA_HEALTH_PORT=99999"])
async def test_a_wrong_environment_is_told(variable: str) -> None:
    name, _, value = variable.partition("=")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tephra.app", env={**os.environ, name: value}, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert variable.encode() in errors
