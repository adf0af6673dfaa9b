"""Who may do what: the operator's RBAC, the tenant's role, restricted pods, policies in force (issue section 2)."""

import json
from typing import Any

import pytest
import yaml

from tests.support.system import NAMESPACE, ROOT, System, custom, silo

pytestmark = pytest.mark.cluster

OPERATOR = f"system:serviceaccount:{NAMESPACE}:tephra-operator"


def may(system: System, who: str, verb: str, what: str, namespace: str | None = None) -> bool:
    """`kubectl auth can-i` as somebody; ``what`` is a resource or `resource/subresource`."""
    where = ("-n", namespace) if namespace else ("-A",)
    resource, _, subresource = what.partition("/")
    asked = (verb, resource, f"--subresource={subresource}", *where, f"--as={who}")
    done = system.run("kubectl", "auth", "can-i", *asked, check=False)
    return done.stdout.strip() == "yes"


def test_roles_hold_no_wildcards(system: System) -> None:
    rendered = system.helm("template", "tephra", "charts/tephra", "-n", NAMESPACE, "-f", "build/images/values.yaml")
    roles = [item for item in yaml.safe_load_all(rendered) if item and item["kind"] in {"Role", "ClusterRole"}]
    assert roles
    for role in roles:
        assert "*" not in json.dumps(role.get("rules", [])), role["metadata"]["name"]


@pytest.mark.parametrize(
    ("verb", "what", "allowed"),
    [
        ("list", "secrets", False),
        ("watch", "secrets", False),
        ("delete", "namespaces", False),
        ("create", "pods", False),
        ("create", "clusterroles", False),
        ("impersonate", "users", False),
        ("update", "vsilos.tephra.dev", False),
        ("create", "vsilos.tephra.dev", False),
        ("patch", "secrets", True),
        ("patch", "deployments.apps", True),
        ("patch", "vsilos.tephra.dev/status", True),
    ],
)
def test_the_operator_may_only_what_it_does(system: System, verb: str, what: str, allowed: bool) -> None:
    assert may(system, OPERATOR, verb, what) is allowed


def test_roles_of_a_namespace_are_widened_by_what_belongs_to_them(system: System) -> None:
    """The built-in roles: viewers read, tenants (`edit`) have silos, who runs sources (`admin`) has ThingVisors too."""
    with system.namespace("tenant") as namespace:
        for role in ("view", "edit", "admin"):
            system.kubectl("-n", namespace, "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}")
        allowed = {
            ("view", "list", "vthings"), ("edit", "list", "vthings"), ("admin", "list", "vthings"),
            ("view", "get", "vsilos"), ("edit", "get", "vsilos"), ("admin", "get", "vsilos"),
            ("edit", "create", "vsilos"), ("admin", "create", "vsilos"),
            ("admin", "create", "thingvisors"),
        }  # fmt: skip
        asked = {(verb, kind) for _, verb, kind in allowed} | {("patch", "vsilos/status")}
        for who in ("view", "edit", "admin"):
            for verb, kind in asked:
                plural, _, subresource = kind.partition("/")
                what = f"{plural}.tephra.dev/{subresource}"
                assert may(system, who, verb, what, namespace) is ((who, verb, kind) in allowed), (who, verb, kind)
        assert not may(system, "admin", "create", "vsilos.tephra.dev", "default")
        assert not may(system, "admin", "create", "flavours.tephra.dev")
        assert not may(system, "admin", "get", "secrets", NAMESPACE)


def test_quota_limits_the_silos_of_a_namespace(system: System) -> None:
    with system.namespace("quota") as namespace:
        hard = {"count/vsilos.tephra.dev": "1"}
        metadata = {"name": "silos", "namespace": namespace}
        system.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
        system.wait("resourcequota", "silos", namespace, r"jsonpath={.status.hard.count/vsilos\.tephra\.dev}=1")
        system.apply(silo(namespace, "one"))
        assert "exceeded quota" in system.refused(silo(namespace, "two"))


def test_every_pod_of_ours_is_restricted(system: System, weather: None) -> None:
    """The namespaces enforce it, so pods that run prove it; the operator's own namespace is labelled by the chart."""
    for namespace in (NAMESPACE, "things", "tenant-a"):
        labels = system.get("namespace", namespace)["metadata"]["labels"]
        if namespace != NAMESPACE:
            assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        dry = system.run(
            *("kubectl", "label", "--dry-run=server", "--overwrite", "namespace", namespace),
            "pod-security.kubernetes.io/enforce=restricted",
        )
        assert "violate" not in dry.stderr, dry.stderr
        for pod in system.list("pods", namespace, "app.kubernetes.io/managed-by=tephra"):
            assert pod["spec"]["automountServiceAccountToken"] is False


def test_policies_let_through_only_what_is_needed(system: System, weather: None) -> None:
    """A stranger reaches a silo's broker, not the bus; a silo's pod reaches the bus, nothing else in the cluster."""
    bus, home = f"tephra-bus.{NAMESPACE}.svc.cluster.local", "silo-home.tenant-a.svc.cluster.local"
    source = "openweathermap-simulator.things.svc.cluster.local"
    with system.namespace("stranger") as namespace:
        system.apply(stranger(namespace))
        system.wait("pod", "stranger", namespace)
        outside = ("-n", namespace, "pod/stranger")
        assert reaches(system, outside, home, 8883)
        assert reaches(system, outside, source, 8080)
        assert not reaches(system, outside, bus, 8883)
    inside = ("-n", "tenant-a", "deployment/silo-home", "-c", "controller")
    assert reaches(system, inside, bus, 8883)
    assert not reaches(system, inside, source, 8080)
    assert not reaches(system, inside, "kubernetes.default.svc.cluster.local", 443)


def stranger(namespace: str) -> dict[str, Any]:
    """A pod that is none of ours, and waits."""
    image = yaml.safe_load((ROOT / "build/images/values.yaml").read_text())["images"]["thingvisor"]
    spec = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 0,
        "containers": [
            {
                "name": "python",
                "image": f"localhost/{image['repository']}:{image['tag']}",
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-c", "import signal; signal.pause()"],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }
    return custom("Pod", namespace, "stranger", spec) | {"apiVersion": "v1"}


def reaches(system: System, pod: tuple[str, ...], host: str, port: int) -> bool:
    """Whether a process in the pod can connect. A policy may drop or reject; a name without an address is a mistake."""
    program = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('connected')"
    done = system.run("kubectl", "exec", *pod, "--", "python3", "-c", program, host, str(port), check=False)
    assert done.returncode == 0 or "in create_connection" in done.stderr, done.stderr
    assert "gaierror" not in done.stderr, done.stderr
    return "connected" in done.stdout
