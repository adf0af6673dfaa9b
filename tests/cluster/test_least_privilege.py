"""Who may do what: the operator's RBAC, the tenant's role, restricted pods, policies in force (issue section 2)."""

import json
import subprocess

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


def test_a_tenant_handles_silos_and_reads_the_catalogue(system: System) -> None:
    with system.namespace("tenant") as namespace:
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "tenant", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ada"}],
        }
        system.apply(binding)
        assert may(system, "ada", "create", "vsilos.tephra.dev", namespace)
        assert may(system, "ada", "list", "vthings.tephra.dev", namespace)
        assert not may(system, "ada", "create", "vsilos.tephra.dev")
        assert not may(system, "ada", "patch", "vsilos.tephra.dev/status", namespace)
        assert not may(system, "ada", "create", "flavours.tephra.dev")
        assert not may(system, "ada", "get", "secrets", NAMESPACE)


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


def test_policies_keep_a_stranger_off_the_bus_and_the_silo_in(system: System, weather: None) -> None:
    """From a foreign namespace neither the bus nor the operator answers; the silo's own broker does."""
    image = yaml.safe_load((ROOT / "build/images/values.yaml").read_text())["images"]["thingvisor"]
    program = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print('connected')"
    with system.namespace("stranger") as namespace:
        spec = {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
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
        system.apply(custom("Pod", namespace, "stranger", spec) | {"apiVersion": "v1"})
        system.wait("pod", "stranger", namespace)

        def reaches(host: str, port: int) -> bool:
            command = ("exec", "-n", namespace, "stranger", "--", "python3", "-c", program, host, str(port))
            done: subprocess.CompletedProcess[str] = system.run("kubectl", *command, check=False)
            return "connected" in done.stdout

        assert reaches("silo-home.tenant-a.svc.cluster.local", 8883)
        assert not reaches(f"tephra-bus.{NAMESPACE}.svc.cluster.local", 8883)
