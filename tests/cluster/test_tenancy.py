"""Tenancy with the real credentials: whatever is found in a namespace opens no more than it should (issue row 8).

The test dials the core bus through a forwarded port, which goes round every NetworkPolicy: what holds here is the
broker's own authorisation, shown by its MQTT 5 reason codes. The tenant's pods are asked for at a site that does not
exist: their identities are as real as any, and no pod takes over the connection of the test (client ids are fixed).
"""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

import pytest

from tests.support import core_bus
from tests.support.core_bus import NOT_AUTHORIZED
from tests.support.system import System, custom, hello, silo
from tests.support.tenant import Refused, Tenant, connected

pytestmark = pytest.mark.cluster

NOWHERE = {"site": "atlantis"}


class Estate(NamedTuple):
    """``owner`` serves ``hello/open`` and ``hello/shut`` to all, ``closed/hello`` to itself, and has a silo ``home``.
    ``tenant`` has ThingVisor ``mine`` and silo ``home``, which lists ``hello/open`` and ``closed/hello``."""

    owner: str
    tenant: str


class Credential(NamedTuple):
    """A user name with its password, and the certificate to trust."""

    user: str
    password: str
    ca: str


@pytest.fixture(scope="module")
def bus(system: System) -> Iterator[int]:
    """The core bus on a local port."""
    with core_bus.forwarded(system) as port:
        yield port


@pytest.fixture(scope="module")
def estate(system: System) -> Iterator[Estate]:
    with system.namespace("owner") as owner, system.namespace("tenant") as tenant:
        system.apply(hello(owner, period=3600, things=["open", "shut"]), _closed(owner))
        system.apply(silo(owner, "home", f"{owner}/hello/open", f"{owner}/hello/shut", f"{owner}/closed/hello"))
        system.wait("vsilo", "home", owner)
        system.apply(custom("ThingVisor", tenant, "mine", {"type": "helloworld", "placement": NOWHERE}))
        system.apply(silo(tenant, "home", f"{owner}/hello/open", f"{owner}/closed/hello", placement=NOWHERE))
        for kind, name in (("thingvisor", "mine"), ("vsilo", "home")):
            system.wait_reason(kind, name, tenant, "Ready", "Unschedulable")
        yield Estate(owner, tenant)


def _closed(namespace: str) -> dict[str, object]:
    """A ThingVisor for its own namespace."""
    spec = {"type": "helloworld", "params": {"period": 3600}, "access": {"read": {"from": "Same"}}}
    return custom("ThingVisor", namespace, "closed", spec)


@pytest.fixture(scope="module")
def found(system: System, estate: Estate) -> dict[str, Credential]:
    """Every credential in the tenant's namespace, by Secret and key."""
    credentials = {}
    for item in system.list("secrets", estate.tenant):
        data = system.decode(item)
        for key in (key for key in data if key.endswith("password")):
            kind = key.removesuffix("password")
            user = data.get(f"{kind}username") or data[f"{kind}user"]
            credentials[f"{item['metadata']['name']}/{key}"] = Credential(user, data[key], data["ca.crt"])
    return credentials


def at_bus(system: System, bus: int, estate: Estate, secret: str) -> AbstractContextManager[Tenant]:
    """A client with the bus credentials of a Secret of the tenant, under the identity's own client id."""
    return core_bus.as_identity(bus, system.secret(secret, estate.tenant))


def refused(action: Callable[..., object], *arguments: object) -> None:
    """The broker must answer Not authorized."""
    with pytest.raises(Refused) as refusal:
        action(*arguments)
    assert refusal.value.code == NOT_AUTHORIZED, arguments


def test_every_secret_of_the_tenant_is_tried(system: System, estate: Estate, found: dict[str, Credential]) -> None:
    """A Secret or credential that is new in a tenant's namespace must be judged here before these lists grow."""
    secrets = {item["metadata"]["name"]: system.decode(item) for item in system.list("secrets", estate.tenant)}
    assert secrets.keys() == {"home-credentials", "silo-home-broker", "silo-home-bus", "tv-mine-bus"}
    assert found.keys() == {
        "home-credentials/password",
        "silo-home-broker/controller-password",
        "silo-home-bus/password",
        "tv-mine-bus/password",
    }
    private = [f"{name}/{key}" for name, data in secrets.items() for key in data if "PRIVATE KEY" in data[key]]
    assert private == ["silo-home-broker/tls.key"]


def test_no_credential_opens_another_tenants_silo(system: System, estate: Estate, found: dict[str, Credential]) -> None:
    for endpoint in system.get("vsilo", "home", estate.owner)["status"]["endpoints"]:
        for user, password, ca in found.values():
            refused(connected(endpoint["external"], user, password, ca).__enter__)


def test_only_bus_credentials_open_the_bus_and_only_under_their_own_name(
    bus: int, estate: Estate, found: dict[str, Credential]
) -> None:
    """Another's client id would take over that client's session."""
    for place, (user, password, ca) in found.items():
        own, others = user, f"silo.{estate.owner}.home"
        for client_id in (own, others, ""):
            connection = connected(core_bus.url(bus), user, password, ca, client_id)
            if client_id == own and place.endswith("-bus/password"):
                with connection:
                    continue
            refused(connection.__enter__)


def test_a_silo_reads_only_what_was_granted(system: System, bus: int, estate: Estate) -> None:
    owner, tenant = estate
    with at_bus(system, bus, estate, "silo-home-bus") as client:
        client.subscribe(f"vThing/{owner}.hello/open/data_out/+")
        assert client.next().retain
        client.subscribe(f"vSilo/{tenant}.home/c_in")
        assert client.until(lambda m: m.topic == f"vSilo/{tenant}.home/c_in")
        for topic in (
            f"vThing/{owner}.hello/shut/data_out/+",
            f"vThing/{owner}.hello/+/data_out/+",
            f"vThing/{owner}.closed/hello/data_out/+",
            f"$share/group/vThing/{owner}.hello/shut/data_out/+",
            f"vSilo/{owner}.home/c_in",
            f"vSilo/{owner}.home/data_in/{owner}.hello",
            f"vSilo/+/data_in/{owner}.hello",
            f"TV/{owner}.hello/c_in",
            f"TV/{tenant}.mine/c_in",
            "vThing/#",
            "#",
            "$SYS/#",
            "$CONTROL/#",
            "$share/group/#",
        ):
            refused(client.subscribe, topic)


def test_a_silo_writes_only_as_itself(system: System, bus: int, estate: Estate) -> None:
    owner, tenant = estate
    with at_bus(system, bus, estate, "silo-home-bus") as client:
        client.publish(f"vThing/{owner}.hello/open/repair/{tenant}.home", b'{"epoch":0}')
        for topic in (
            f"vThing/{owner}.hello/open/data_in/{tenant}.home",  # commands were not granted
            f"vThing/{owner}.hello/open/data_out/urn:ngsi-ld:x",
            f"vThing/{owner}.hello/open/repair/{owner}.home",
            f"vThing/{owner}.hello/shut/repair/{tenant}.home",
            f"vSilo/{owner}.home/c_out",
            f"vSilo/{tenant}.home/c_in",
            f"TV/{owner}.hello/c_out",
            "$CONTROL/dynamic-security/v1",
            "operator/mark",
        ):
            refused(client.publish, topic, b"{}")


def test_a_thingvisor_cannot_speak_for_another(system: System, bus: int, estate: Estate) -> None:
    owner, tenant = estate
    with at_bus(system, bus, estate, "tv-mine-bus") as client:
        client.subscribe(f"vThing/{tenant}.mine/+/data_in/+")
        for topic in (
            f"vThing/{owner}.hello/open/data_out/urn:ngsi-ld:x",
            f"TV/{owner}.hello/c_out",
            f"TV/{tenant}.mine/c_in",
            f"vSilo/{tenant}.home/data_in/{owner}.hello",
            f"vSilo/{tenant}.home/c_in",
            "$CONTROL/dynamic-security/v1",
        ):
            refused(client.publish, topic, b"{}")
        for topic in (
            f"vThing/{owner}.hello/+/data_in/+",
            f"vThing/{owner}.hello/open/data_out/+",
            f"vThing/{tenant}.mine/+/data_out/+",
            f"TV/{owner}.hello/c_in",
            "#",
        ):
            refused(client.subscribe, topic)


def test_a_last_will_speaks_for_nobody_else(system: System, bus: int, estate: Estate) -> None:
    """A will is accepted unseen at the connection, so the broker has to judge it when the connection breaks."""
    keys = system.secret("tv-mine-bus", estate.tenant)
    own, foreign = f"vThing/{estate.tenant}.mine/hello/data_out/x", f"vThing/{estate.owner}.hello/open/data_out/x"
    for topic in (own, foreign):
        with core_bus.as_identity(bus, keys, will=topic) as dying:
            dying.vanish()
    with core_bus.as_identity(bus, keys):
        pass  # the broker has done with the broken connections when it accepts this one
    with core_bus.as_administrator(system, bus) as administrator:
        assert {own, foreign} & core_bus.retained(administrator) == {own}
        administrator.publish(own, b"", retain=True)


def test_the_silos_server_key_signs_nothing(system: System, estate: Estate) -> None:
    certificate = system.secret("silo-home-broker", estate.tenant)["tls.crt"]
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "basicConstraints,extendedKeyUsage"],
        input=certificate, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "CA:FALSE" in shown
    assert "TLS Web Server Authentication" in shown


def test_withdrawn_access_stops_the_data_at_once(system: System) -> None:
    """The owner's own silo keeps its access: what it still gets, the other must not."""
    with system.namespace("owner") as owner, system.namespace("tenant") as tenant:
        shared = hello(owner, period=0.2)
        system.apply(shared)
        for namespace in (owner, tenant):
            system.apply(silo(namespace, "home", f"{owner}/hello/hello"))
        for namespace in (owner, tenant):
            system.wait("vsilo", "home", namespace)
        with system.at_silo("home", owner) as still, system.at_silo("home", tenant) as shut_out:
            for client in (still, shut_out):
                client.subscribe("#")
                client.until(lambda m: not m.retain)
            shared["spec"]["access"] = {"read": {"from": "Same"}}
            system.apply(shared)
            system.wait_reason("vsilo", "home", tenant, "Ready", "AccessDenied")
            for _ in range(2):  # the last values of the two entities are taken back, after what was under way
                shut_out.until(lambda m: not m.payload)
            still.drain()
            for _ in range(10):
                still.next()
            assert shut_out.drain() == []
        with system.at_silo("home", tenant) as late:
            late.subscribe("#")
            late.publish("what/comes/after/all/retained/values", b"")
            assert late.next().topic == "what/comes/after/all/retained/values"
