"""kubectl tephra uninstall leaves nothing behind; on a cluster of its own, since it takes everything away."""

import os
from collections.abc import Iterator

import pytest

from tests.support import bed
from tests.support.system import NAMESPACE, ROOT, System

pytestmark = pytest.mark.cluster

KINDS = "deployments,services,secrets,configmaps,networkpolicies,leases,persistentvolumeclaims,roles,rolebindings"


@pytest.fixture(scope="module")
def doomed() -> Iterator[System]:
    """Tephra with the weather example on a node of its own."""
    if os.geteuid() != 0:
        pytest.skip("a cluster of its own needs root")
    with bed.fresh(1, suffix="-gone") as made:
        made.command("load", *sorted(str(path) for path in (ROOT / "build/images").glob("*.tar")))
        system = System(made.kubeconfig, made.assets)
        before = traces(system)
        system.install()
        system.apply(ROOT / "examples/weather")
        system.wait("vsilo", "home", "tenant-a", timeout=180)
        assert traces(system) > before
        yield system


def traces(system: System) -> set[str]:
    """Names of everything that may be Tephra's: cluster-wide objects by name, namespaced ones by label or name."""
    wide = "crds,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    found = [
        line
        for line in system.kubectl("get", wide, "-o", "name", "--ignore-not-found").splitlines()
        if "tephra" in line
    ]
    inside = "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{'\\n'}{end}"
    lines = system.kubectl("get", KINDS, "-A", "-o", inside).splitlines()
    spaces = (f" {NAMESPACE}/", " things/", " tenant-a/")
    builtin = ("kube-root-ca.crt",)
    return {*found, *(line for line in lines if any(s in line for s in spaces) and not line.endswith(builtin))}


def test_uninstall_leaves_nothing_behind(doomed: System) -> None:
    printed = doomed.kubectl("tephra", "uninstall", "--yes", "--timeout", "180")
    assert "delete VSilo tenant-a/home" in printed
    mine = {line for line in traces(doomed) if "upstream" not in line and "openweathermap" not in line}
    assert mine == set()
    assert doomed.helm("list", "-A", "-q").strip() == ""


def test_namespaces_go_when_asked(doomed: System) -> None:
    doomed.kubectl("tephra", "uninstall", "--yes", "--timeout", "180", "--delete-namespace", NAMESPACE)
    assert NAMESPACE not in doomed.kubectl("get", "namespaces", "-o", "name")
