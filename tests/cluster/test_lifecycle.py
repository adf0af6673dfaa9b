"""Upgrade, uninstall and reinstall leave objects, credentials and running silos alone (issue row 10).

These tests take the system away from under the others' feet for a while, so they put back what they found.
"""

import hashlib

import pytest
import yaml

from tests.support.bed import Bed
from tests.support.system import NAMESPACE, ROOT, System

pytestmark = pytest.mark.cluster

CRDS = ("flavours", "thingvisortypes", "thingvisors", "vthings", "vsilos")


def silo_pods(system: System) -> dict[str, str]:
    """Pods of every silo with the restarts of their containers."""
    return {
        pod["metadata"]["uid"]: str([status["restartCount"] for status in pod["status"]["containerStatuses"]])
        for pod in system.list("pods", selector="app.kubernetes.io/component=vsilo")
        if "deletionTimestamp" not in pod["metadata"]
    }


def fingerprint(system: System, secret: str, namespace: str) -> str:
    """Digest of a Secret's content."""
    return hashlib.sha256(str(sorted(system.secret(secret, namespace).items())).encode()).hexdigest()


def test_upgrade_of_the_operators_image_restarts_no_silo(system: System, cluster: Bed, weather: None) -> None:
    if cluster.name is None:
        pytest.skip("retagging an image needs a cluster of ours")
    image = yaml.safe_load((ROOT / "build/images/values.yaml").read_text())["images"]["operator"]
    repository = f"localhost/{image['repository']}"
    for node in system.list("nodes"):
        cluster.command(
            *("exec", node["metadata"]["name"], "--", "ctr", "-n", "k8s.io", "images", "tag", "--force"),
            *(f"{repository}:{image['tag']}", f"{repository}:upgraded"),
        )
    before = silo_pods(system)
    try:
        system.install("images.operator.tag=upgraded")
        running = system.get("deployment", "tephra-operator", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]
        assert running["image"].endswith(":upgraded")
        system.wait("vsilo", "home", "tenant-a")
        assert silo_pods(system) == before
    finally:
        system.install()


def test_uninstall_keeps_and_reinstall_adopts(system: System, weather: None) -> None:
    authority = fingerprint(system, "tephra-ca", NAMESPACE)
    password = system.secret("home-credentials", "tenant-a")["password"]
    pods = silo_pods(system)
    system.helm("uninstall", "tephra", "-n", NAMESPACE, "--wait")
    try:
        for plural in CRDS:
            assert system.get("crd", f"{plural}.tephra.dev")["status"]["acceptedNames"]["plural"] == plural
        assert system.get("vsilo", "home", "tenant-a")["spec"]["flavour"] == "mqtt"
        assert silo_pods(system) == pods
    finally:
        system.install()
    system.wait("vsilo", "home", "tenant-a")
    system.wait("thingvisor", "weather", "things")
    assert fingerprint(system, "tephra-ca", NAMESPACE) == authority
    assert system.secret("home-credentials", "tenant-a")["password"] == password
    assert silo_pods(system) == pods
    with system.at_silo("home", "tenant-a") as tenant:
        tenant.subscribe("#")
        tenant.until(lambda m: not m.retain)


def test_a_lost_secret_is_made_again_equal(system: System, weather: None) -> None:
    """Credentials are derived, so nothing is lost with their Secrets; the next pass makes them again."""
    before = system.secret("home-credentials", "tenant-a")
    system.kubectl("-n", "tenant-a", "delete", "secret", "home-credentials")
    system.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/tephra-operator")
    system.wait("secret", "home-credentials", "tenant-a", "create")
    assert system.secret("home-credentials", "tenant-a") == before
