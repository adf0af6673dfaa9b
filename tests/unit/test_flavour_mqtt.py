"""Flavour mqtt as shipped: its configuration and entrypoint with a real Mosquitto, controller and tenants, over TLS."""

import asyncio
import os
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import yaml

from tephra.bus.client import Endpoint
from tests.support.mosquitto import Mosquitto, free_port, make_certificates
from tests.support.silo import Controller, Operator, Source, attached
from tests.support.tenant import Refused, Tenant

ROOT = Path(__file__).parents[2]
FLAVOUR = yaml.safe_load((ROOT / "flavours/mqtt/flavour.yaml").read_text())["spec"]
ENTRYPOINT = ROOT / "cluster/images/files/tephra-mosquitto"
ROOM = "urn:ngsi-ld:Room:1"
TOPIC = "tenant-a/things/counter/room/Room:1"


class Broker:
    """The broker's container: the flavour's command, arguments and files, with paths and ports of this test."""

    def __init__(self, directory: Path) -> None:
        self.secret, self._files, self._data = directory / "secret", directory / "files", directory / "data"
        for folder in (self.secret, self._files, self._data):
            folder.mkdir()
        self.ports = {port: free_port() for port in (1883, 8883, 8884)}
        self.rotate("first", "c-first", certificate=True)
        for name, text in FLAVOUR["broker"]["files"].items():
            (self._files / name).write_text(self._here(text))
        (self._files / "mosquitto.conf").write_text(
            (self._files / "mosquitto.conf").read_text() + f"user {os.environ.get('USER', 'root')}\n"
        )
        command = [self._here(part) for part in (*FLAVOUR["broker"]["command"], *FLAVOUR["broker"]["args"])]
        path = f"{ENTRYPOINT.parent}:{os.environ['PATH']}:/usr/sbin"
        with (directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env={"PATH": path}, stdout=log, stderr=log, start_new_session=True
            )

    def _here(self, text: str) -> str:
        text = text.replace("/etc/tephra/secret", str(self.secret)).replace("/etc/tephra/broker", str(self._files))
        text = text.replace("/var/lib/tephra", str(self._data))
        for port, free in self.ports.items():
            text = text.replace(f"listener {port}", f"listener {free}")
        return text

    def rotate(self, tenant: str, controller: str, *, certificate: bool = False) -> None:
        """New passwords, and a new certificate, in place of the old: what kubelet does to a mounted Secret."""
        new = self.secret / "new"
        new.touch()
        for user, password in (("tenant", tenant), ("controller", controller)):
            subprocess.run(["mosquitto_passwd", "-b", str(new), user, password], check=True)
        if certificate:
            make_certificates(self.secret)
        new.rename(self.secret / "passwords")

    @property
    def ca(self) -> str:
        return (self.secret / "ca.crt").read_text()

    async def tenant(self, password: str, scheme: str = "mqtts") -> Tenant:
        """A tenant's connection, tried until the listener is there."""
        port = self.ports[8883 if scheme == "mqtts" else 8884]
        for _ in range(200):
            with suppress(ConnectionError, ssl.SSLError):
                client = Tenant(f"{scheme}://localhost:{port}", "tenant", password, self.ca)
                return await asyncio.to_thread(client.connect)
            await asyncio.sleep(0.05)
        raise TimeoutError(f"no {scheme} listener on {port}")

    def end(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Pod:
    """Broker and controller of one silo, with a source behind the core broker."""

    def __init__(self, broker: Broker, controller: Controller, operator: Operator, source: Source) -> None:
        self.broker, self.controller, self.operator, self.source = broker, controller, operator, source


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    async with AsyncExitStack() as stack:
        core = stack.enter_context(Mosquitto(tmp_path / "core"))
        broker = Broker(tmp_path)
        stack.callback(broker.end)
        beside = Endpoint(f"mqtt://127.0.0.1:{broker.ports[1883]}", "controller", "c-first")
        controller = Controller(tmp_path, core.endpoint(), beside)
        controller.start()
        stack.callback(controller.end, signal.SIGKILL)
        operator = await stack.enter_async_context(Operator(core.endpoint()))
        yield Pod(broker, controller, operator, await stack.enter_async_context(Source(core.endpoint())))


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
async def test_a_tenant_reads_everything_and_writes_only_commands(pod: Pod, scheme: str) -> None:
    await pod.source.publish("room", ROOM, 1)
    await pod.operator.desire(attached("room", commands=True))
    tenant = await pod.broker.tenant("first", scheme)
    tenant.subscribe("#")
    assert (await asyncio.to_thread(tenant.next)).topic == TOPIC
    for topic in (TOPIC, f"{TOPIC}/set/status", "tenant-a/things/counter/room", "mine"):
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(tenant.publish, topic, b"1")
        assert refused.value.code == 135, topic
    await asyncio.to_thread(tenant.publish, f"{TOPIC}/set", b"1")
    assert (await asyncio.wait_for(pod.source.commands.get(), 5))[1]["value"] == 1
    tenant.close()


async def test_new_passwords_end_the_old_ones_and_nothing_else(pod: Pod) -> None:
    await pod.operator.desire(attached("room"))
    await pod.operator.until(lambda report: report.broker_ready)
    old = {scheme: await pod.broker.tenant("first", scheme) for scheme in ("mqtts", "wss")}
    pod.broker.rotate("second", "c-second")
    pod.controller.write("broker", password="c-second", epoch="1")
    for tenant in old.values():
        assert await asyncio.to_thread(tenant.disconnected.wait, 5)
        tenant.close()
    with pytest.raises(Refused) as refused:
        await pod.broker.tenant("first")
    assert refused.value.code == 135
    await pod.operator.until(lambda report: report.broker_ready and report.credentials_epoch == 1)
    new = await pod.broker.tenant("second")
    new.subscribe("#")
    await pod.source.publish("room", ROOM, 2)
    assert (await asyncio.to_thread(new.next)).topic == TOPIC
    new.close()


async def test_a_new_certificate_is_served_on_both_listeners_with_nothing_forgotten(pod: Pod) -> None:
    await pod.source.publish("room", ROOM, 1)
    await pod.operator.desire(attached("room"))
    await pod.operator.until(lambda report: report.broker_ready)
    before = await pod.broker.tenant("first")
    pod.broker.rotate("first", "c-first", certificate=True)
    assert await asyncio.to_thread(before.disconnected.wait, 5)
    before.close()
    for scheme in ("mqtts", "wss"):
        tenant = await pod.broker.tenant("first", scheme)
        tenant.subscribe("#")
        assert (await asyncio.to_thread(tenant.next)).topic == TOPIC
        tenant.close()
