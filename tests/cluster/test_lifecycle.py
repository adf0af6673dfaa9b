"""Upgrade, uninstall and reinstall leave objects, credentials and running silos alone (issue row 10).

These tests take the system away from under the others' feet for a while, so they put back what they found.
"""

from typing import Any, NamedTuple

import pytest
import yaml

from tephra.api import GROUP
from tephra.api.kinds import KINDS
from tests.support.bed import Bed
from tests.support.system import NAMESPACE, ROOT, System

pytestmark = pytest.mark.cluster

MADE_ONCE = ("tephra-ca", "tephra-master-key")
SPACES = ("things", "tenant-a")


class Estate(NamedTuple):
    """What must outlive the operator, as it is now."""

    definitions: dict[str, str]
    """uid of each CRD."""
    objects: dict[str, tuple[str, int]]
    """uid and generation of each object of ours in the namespaces of the example."""
    secrets: dict[str, dict[str, str]]
    """Contents of the Secrets that are made only once, and of the tenant's credentials."""
    pods: dict[str, list[str]]
    """The pods of ThingVisors and silos there, with the containers that run in them."""


def estate(system: System) -> Estate:
    definitions = [item for item in system.list("crds") if item["spec"]["group"] == GROUP]
    kinds = ",".join(f"{info.plural}.{GROUP}" for info, *_ in KINDS.values())
    objects = [item for space in SPACES for item in system.list(kinds, space)]
    secrets = [system.get("secret", name, NAMESPACE) for name in MADE_ONCE]
    secrets.append(system.get("secret", "home-credentials", "tenant-a"))
    pods = [pod for space in SPACES for pod in system.list("pods", space, "app.kubernetes.io/managed-by=tephra")]
    return Estate(
        {item["metadata"]["name"]: item["metadata"]["uid"] for item in definitions},
        {f"{item['kind']} {item['metadata']['name']}": _version(item) for item in objects},
        {item["metadata"]["name"]: item["data"] for item in secrets},
        {pod["metadata"]["name"]: [each["containerID"] for each in pod["status"]["containerStatuses"]] for pod in pods},
    )


def _version(item: dict[str, Any]) -> tuple[str, int]:
    return item["metadata"]["uid"], item["metadata"]["generation"]


def serves_fresh_data(system: System) -> None:
    """A value that is published from now on reaches the tenant of the example."""
    with system.at_silo("home", "tenant-a") as tenant:
        tenant.subscribe("#")
        tenant.until(lambda m: not m.retain)


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
    before = estate(system)
    assert (len(before.definitions), len(before.pods)) == (len(KINDS), 2)
    try:
        system.install("images.operator.tag=upgraded")
        running = system.get("deployment", "tephra-operator", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]
        assert running["image"].endswith(":upgraded")
        system.await_planned()
        assert estate(system) == before
    finally:
        system.install()


def test_uninstall_keeps_and_reinstall_adopts(system: System, weather: None) -> None:
    before = estate(system)
    system.helm("uninstall", "tephra", "-n", NAMESPACE, "--wait")
    try:
        assert not system.list("deployments", NAMESPACE)
        assert estate(system) == before
        with system.at_silo("home", "tenant-a") as tenant:  # the tenant's broker needs neither operator nor bus
            tenant.subscribe("#")
            assert tenant.next().retain
    finally:
        system.install()
    system.await_planned()
    system.wait("thingvisor", "weather", "things")
    system.wait("vsilo", "home", "tenant-a")
    assert estate(system) == before
    serves_fresh_data(system)


def test_a_lost_secret_is_made_again_equal(system: System, weather: None) -> None:
    """Credentials are derived, so nothing is lost with their Secrets; the next pass makes them again."""
    before = estate(system)
    system.kubectl("-n", "tenant-a", "delete", "secret", "home-credentials")
    system.restart_operator()
    assert estate(system) == before
