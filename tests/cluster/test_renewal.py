"""Renewal under running clients: a tenant's credentials, its silo's server certificate, and the CA itself.

The kubelet looks at a pod's Secrets when it looks at the pod: once a minute, or when the pod changes. So that the test
need not wait for that minute it changes an annotation of the pods.
"""

import base64
import json
import secrets
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from tephra.act.credentials import certificate_authority
from tests.support.core_bus import NOT_AUTHORIZED
from tests.support.system import NAMESPACE, System, silo
from tests.support.tenant import Refused, connected

pytestmark = pytest.mark.cluster

PICKED_UP = 150
"""Seconds within which a pod has a changed Secret, even if the kubelet was looked at in vain."""


def look_now(system: System, namespace: str) -> None:
    """Make the kubelets look at the pods of a namespace."""
    mark = f"tests.tephra.dev/look={secrets.token_hex(4)}"
    system.kubectl("-n", namespace, "annotate", "--overwrite", "pods", "--all", mark)


def shown(url: str) -> str:
    """The certificate that a TLS listener shows, in PEM."""
    parts = urlsplit(url)
    return ssl.get_server_certificate((parts.hostname or "", parts.port or 0))


def containers(system: System, namespace: str) -> set[str]:
    return {
        status["containerID"]
        for pod in system.list("pods", namespace, "app.kubernetes.io/managed-by=tephra")
        for status in pod["status"]["containerStatuses"]
    }


def test_credentials_rotate_on_request(system: System, quiet_hello: str) -> None:
    with system.namespace("rotate") as namespace:
        manifest = silo(namespace, "home", f"{quiet_hello}/hello")
        system.apply(manifest)
        system.wait("vsilo", "home", namespace)
        old, before = system.secret("home-credentials", namespace), containers(system, namespace)
        with system.at_silo("home", namespace) as tenant:
            manifest["spec"]["credentials"] = {"epoch": 1}
            system.apply(manifest)
            encoded = base64.b64encode(b"1").decode()
            system.wait("secret", "silo-home-broker", namespace, f"jsonpath={{.data.epoch}}={encoded}")
            look_now(system, namespace)
            system.wait("vsilo", "home", namespace, "jsonpath={.status.credentialsEpoch}=1", PICKED_UP)
            assert tenant.disconnected.wait(10), "the old credentials still hold a connection"
        for endpoint in system.get("vsilo", "home", namespace)["status"]["endpoints"]:
            attempt = connected(endpoint["external"], old["user"], old["password"], old["ca.crt"])
            with pytest.raises(Refused) as refusal, attempt:
                pass
            assert refusal.value.code == NOT_AUTHORIZED
        with system.at_silo("home", namespace) as tenant:
            tenant.subscribe("#")
            assert tenant.next().retain
        system.wait("vsilo", "home", namespace)
        assert containers(system, namespace) == before


def test_a_silo_takes_its_renewed_certificate_without_a_new_pod(system: System, quiet_hello: str) -> None:
    """Another address outside needs another certificate; the test is the cloud that gives the address."""
    with system.namespace("renew") as namespace:
        thing = f"{quiet_hello}/hello"
        system.apply(silo(namespace, "home", thing))
        system.wait("vsilo", "home", namespace)
        urls = [each["external"] for each in system.get("vsilo", "home", namespace)["status"]["endpoints"]]
        keys, before = system.secret("home-credentials", namespace), containers(system, namespace)
        first = {shown(url) for url in urls}
        with system.at_silo("home", namespace) as tenant:
            system.apply(silo(namespace, "home", thing, exposure="LoadBalancer"))
            address = json.dumps({"status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}})
            system.wait("service", "silo-home", namespace, "jsonpath={.spec.type}=LoadBalancer")
            system.kubectl("-n", namespace, "patch", "service", "silo-home", "--subresource=status", "-p", address)
            external = "jsonpath={.status.endpoint.external}=mqtts://127.0.0.1:8883"
            system.wait("vsilo", "home", namespace, external)
            look_now(system, namespace)
            tenant.reconnected(PICKED_UP)  # the listener for WebSockets reads it only when the broker starts again
        for url in urls:  # the node ports are still the same; the CA is the one that the tenant had before
            with connected(url, keys["user"], keys["password"], keys["ca.crt"]) as tenant:
                tenant.subscribe("#")
                assert tenant.next().retain
        second = {shown(url) for url in urls}
        assert first.isdisjoint(second)
        assert second.pop() in system.secret("silo-home-broker", namespace)["tls.crt"]
        assert containers(system, namespace) == before


def test_the_ca_is_replaced_without_an_interruption(system: System, weather: None) -> None:
    """First everybody trusts both, then the new one signs: whoever connects at any moment knows the signer."""
    old = system.secret("tephra-ca", NAMESPACE)["tls.crt"]
    new, key = certificate_authority(secrets.token_bytes(32), time.time())
    change_ca(system, {"ca.crt": old + new})
    for namespace, workload in (("things", "tv-weather"), ("tenant-a", "silo-home")):
        while new not in mounted(system, namespace, workload, "/etc/tephra/bus/ca.crt"):
            time.sleep(0.2)  # nothing tells when the kubelet has swapped a mounted Secret
    with system.at_silo("home", "tenant-a") as tenant:
        tenant.subscribe("#")
        change_ca(system, {"tls.crt": new, "tls.key": key})
        tenant.reconnected(PICKED_UP)
    system.kubectl("-n", NAMESPACE, "delete", "pod", "tephra-bus-0")  # everybody has to connect to the bus anew
    system.kubectl("-n", NAMESPACE, "rollout", "status", "statefulset/tephra-bus", "--timeout=60s")
    keys, endpoint = system.secret("home-credentials", "tenant-a"), system.get("vsilo", "home", "tenant-a")["status"]
    with connected(endpoint["endpoint"]["external"], keys["user"], keys["password"], new) as tenant:
        tenant.subscribe("#")
        tenant.until(lambda m: not m.retain)


def change_ca(system: System, change: Mapping[str, str]) -> None:
    """What an administrator does, and then the kubelets' look at the pods."""
    patch = json.dumps({"stringData": change})
    system.kubectl("-n", NAMESPACE, "patch", "secret", "tephra-ca", "--type=merge", "-p", patch)
    system.restart_operator()
    for namespace in (NAMESPACE, "things", "tenant-a"):
        look_now(system, namespace)


def mounted(system: System, namespace: str, workload: str, path: str) -> str:
    """A file as the process in a pod of ours sees it."""
    container = "controller" if workload.startswith("silo-") else "thingvisor"
    where = ("-n", namespace, f"deployment/{workload}", "-c", container)
    return system.kubectl("exec", *where, "--", "python3", "-c", f"print(open({path!r}).read())")
