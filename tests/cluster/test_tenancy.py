"""Tenancy with the real credentials: whatever is found in a namespace opens no more than it should (issue row 8).

The test dials the core bus through a forwarded port, which goes round every NetworkPolicy: what holds here is the
broker's own authorisation. MQTT 5 reason code 135 is "Not authorized".
"""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.system import NAMESPACE, System, hello, silo
from tests.support.tenant import Refused, Tenant, connected

pytestmark = pytest.mark.cluster

NOT_AUTHORIZED = 135


@pytest.fixture(scope="module")
def bus(system: System) -> Iterator[int]:
    """The core bus on a local port."""
    command = ["kubectl", "--kubeconfig", system.kubeconfig, "-n", NAMESPACE, "port-forward", "svc/tephra-bus", ":8883"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def as_identity(system: System, bus: int, namespace: str, secret: str) -> Iterator[Tenant]:
    """A client with the bus credentials of a Secret, under the identity's own client id."""
    keys = system.secret(secret, namespace)
    server = keys["url"].rpartition("/")[2].partition(":")[0]
    url = f"mqtts://127.0.0.1:{bus}"
    with connected(url, keys["username"], keys["password"], keys["ca.crt"], keys["username"], server=server) as client:
        yield client


@pytest.fixture(scope="module")
def estate(system: System) -> Iterator[tuple[str, str]]:
    """An owner with two things, and a tenant whose silo may read one of them; the other tenant has its own."""
    with system.namespace("owner") as owner, system.namespace("tenant") as tenant:
        system.apply(hello(owner, period=3600, things=["open", "shut"]))
        system.apply(hello(tenant, "mine", period=3600))
        system.apply(silo(tenant, "home", f"{owner}/hello/open"))
        system.apply(silo(owner, "home", f"{owner}/hello/shut"))
        for name, namespace in (("home", tenant), ("home", owner)):
            system.wait("vsilo", name, namespace)
        yield owner, tenant


def test_a_silo_reads_only_what_was_granted(system: System, bus: int, estate: tuple[str, str]) -> None:
    owner, tenant = estate
    with as_identity(system, bus, tenant, "silo-home-bus") as client:
        client.subscribe(f"vThing/{owner}.hello/open/data_out/+")
        for topic in (
            f"vThing/{owner}.hello/shut/data_out/+",
            f"vThing/{owner}.hello/+/data_out/+",
            f"vSilo/{owner}.home/c_in",
            f"TV/{owner}.hello/c_in",
            f"TV/{tenant}.mine/c_in",
            "vThing/#",
            "#",
            "$CONTROL/#",
        ):
            with pytest.raises(Refused) as refusal:
                client.subscribe(topic)
            assert refusal.value.code == NOT_AUTHORIZED, topic


def test_a_silo_writes_only_as_itself(system: System, bus: int, estate: tuple[str, str]) -> None:
    owner, tenant = estate
    with as_identity(system, bus, tenant, "silo-home-bus") as client:
        for topic in (
            f"vThing/{owner}.hello/open/data_in/{tenant}.home",  # commands were not granted
            f"vThing/{owner}.hello/open/data_out/urn:ngsi-ld:x",
            f"vThing/{owner}.hello/open/repair/{owner}.home",
            f"vSilo/{owner}.home/c_out",
            f"vSilo/{tenant}.home/c_in",
            f"TV/{owner}.hello/c_out",
            "$CONTROL/dynamic-security/v1",
        ):
            with pytest.raises(Refused) as refusal:
                client.publish(topic, b"{}")
            assert refusal.value.code == NOT_AUTHORIZED, topic


def test_a_thingvisor_cannot_speak_for_another(system: System, bus: int, estate: tuple[str, str]) -> None:
    owner, tenant = estate
    with as_identity(system, bus, tenant, "tv-mine-bus") as client:
        for topic in (
            f"vThing/{owner}.hello/open/data_out/urn:ngsi-ld:x",
            f"TV/{owner}.hello/c_out",
            f"vSilo/{tenant}.home/data_in/{owner}.hello",
            f"vSilo/{tenant}.home/c_in",
        ):
            with pytest.raises(Refused) as refusal:
                client.publish(topic, b"{}")
            assert refusal.value.code == NOT_AUTHORIZED, topic
        with pytest.raises(Refused):
            client.subscribe(f"vThing/{owner}.hello/+/data_in/+")


def test_tenant_credentials_open_neither_the_bus_nor_another_silo(
    system: System, bus: int, estate: tuple[str, str]
) -> None:
    owner, tenant = estate
    keys = system.secret("home-credentials", tenant)
    bus_keys = system.secret("silo-home-bus", tenant)
    server = bus_keys["url"].rpartition("/")[2].partition(":")[0]
    with (
        pytest.raises(Refused),
        connected(f"mqtts://127.0.0.1:{bus}", keys["user"], keys["password"], keys["ca.crt"], server=server),
    ):
        pass
    others = system.get("vsilo", "home", owner)["status"]["endpoint"]["external"]
    for user, password in ((keys["user"], keys["password"]), (bus_keys["username"], bus_keys["password"])):
        with pytest.raises(Refused), connected(others, user, password, keys["ca.crt"]):
            pass


def test_every_secret_of_the_tenant_was_tried(system: System, estate: tuple[str, str]) -> None:
    """A Secret that is new in a tenant's namespace must be judged here before this list grows."""
    _, tenant = estate
    names = {item["metadata"]["name"] for item in system.list("secrets", tenant)}
    assert names == {"home-credentials", "silo-home-broker", "silo-home-bus", "tv-mine-bus"}
    broker = system.secret("silo-home-broker", tenant)
    assert "PRIVATE KEY" in broker["tls.key"]
    assert all("ca.key" not in system.secret(name, tenant) for name in names)


def test_the_silos_server_key_signs_nothing(system: System, estate: tuple[str, str]) -> None:
    _, tenant = estate
    certificate = system.secret("silo-home-broker", tenant)["tls.crt"]
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "basicConstraints,extendedKeyUsage"],
        input=certificate, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "CA:FALSE" in shown
    assert "TLS Web Server Authentication" in shown


def test_withdrawn_access_stops_the_data_at_once(system: System) -> None:
    with system.namespace("owner") as owner, system.namespace("tenant") as tenant:
        shared = hello(owner, period=0.2)
        system.apply(shared)
        system.apply(silo(tenant, "home", f"{owner}/hello/hello"))
        system.wait("vsilo", "home", tenant)
        with system.at_silo("home", tenant) as client:
            client.subscribe("#")
            client.until(lambda m: not m.retain)
            shared["spec"]["access"] = {"read": {"from": "Same"}}
            system.apply(shared)
            system.wait_reason("vsilo", "home", tenant, "Ready", "AccessDenied")
            before = [json.loads(m.payload)["id"] for m in client.messages]
            assert before
            while not client.quiet_for(2):
                assert len(client.messages) < len(before) + 20, "data flow on after access was withdrawn"
