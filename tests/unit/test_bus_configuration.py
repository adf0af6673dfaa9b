"""The core bus as the chart configures it: Secret tephra-bus and mosquitto.conf together make a broker that works."""

import asyncio
import base64
import getpass
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tephra.act import keys
from tephra.act.authorisers import dynsec
from tephra.act.bus import BusControl, Listener
from tephra.act.credentials import CertificateAuthority, DerivedKeys, certificate_authority
from tephra.bus.client import Endpoint
from tephra.plan.base import Settings
from tests.support.mosquitto import free_port, plugin, program

CONFIGURATION = Path(__file__).parents[2] / "charts/tephra/files/mosquitto.conf"
MASTER = b"m" * 32


@pytest.fixture
def derived() -> DerivedKeys:
    return DerivedKeys(MASTER, CertificateAuthority(*certificate_authority(MASTER, time.time())))


@pytest.fixture
def url(tmp_path: Path, derived: DerivedKeys) -> Iterator[str]:
    """The chart's files with this machine's paths, and what the pod's init container does."""
    port = free_port()
    settings = Settings(bus_url=f"mqtts://localhost:{port}")
    secret, _ = keys.bus_secret(derived, settings, time.time())
    for name, content in secret["data"].items():
        (tmp_path / name).write_bytes(base64.b64decode(content))
    text = CONFIGURATION.read_text().replace("/etc/tephra/bus", str(tmp_path))
    text = text.replace("/var/lib/tephra", str(tmp_path)).replace("listener 8883", f"listener {port} 127.0.0.1")
    text = text.replace("/usr/lib/mosquitto_dynamic_security.so", str(plugin()))
    (tmp_path / "mosquitto.conf").write_text(f"user {getpass.getuser()}\n{text}")
    broker = subprocess.Popen([program("mosquitto"), "-c", str(tmp_path / "mosquitto.conf")])
    try:
        yield settings.bus_url
    finally:
        broker.terminate()
        broker.wait(10)


async def test_the_operator_gets_in_and_nobody_else(url: str, derived: DerivedKeys) -> None:
    first = Endpoint(url, dynsec.BOOTSTRAP, keys.bootstrap_password(derived), ca_data=derived.bus_ca)
    connected = asyncio.Event()
    driver = dynsec.Dynsec(first, lambda epoch: derived.password(keys.BUS, "operator", epoch))
    bus = BusControl(driver, Listener(lambda key: None, connected.set, lambda: None))
    running = asyncio.create_task(bus.run(1))
    try:
        async with asyncio.timeout(20):
            await connected.wait()
        await bus.publish("TV/a.b/c_in", b"{}", retain=True)
        assert "TV/a.b/c_in" in bus.state.retained
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def test_the_certificate_names_the_service_in_every_way() -> None:
    names = keys.bus_host_names("mqtts://tephra-bus.tephra-system.svc.cluster.local:8883")
    assert names == (
        "tephra-bus.tephra-system.svc.cluster.local",
        "tephra-bus.tephra-system.svc.cluster",
        "tephra-bus.tephra-system.svc",
        "tephra-bus.tephra-system",
        "tephra-bus",
        "localhost",
    )
