"""The Helm chart as helm renders it: strict lint, sets of values, typing errors refused, nothing undocumented."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import readme
from tests.support.apiserver import ApiServer, program

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/tephra"
EXTERNAL = ("bus.managed=false", "bus.external.url=mqtts://bus.example:8883", "bus.external.secretName=bus-login")
SETS = {
    "defaults": (),
    "images": ("global.registry=registry.example:5000/team", "images.operator.tag=1.0", "images.silo.tag=2.0"),
    "several": ("operator.replicas=3", "operator.nodeSelector.disk=ssd", "operator.tolerations[0].operator=Exists"),
    "external": (*EXTERNAL, "bus.authoriser=static"),
    "bare": ("crds.install=false", "catalogue.enabled=false", "networkPolicies.enabled=false"),
    "readers": ("catalogue.readers={system:authenticated}", "crds.keep=false", "bus.storage.storageClassName=fast"),
}


@pytest.fixture(scope="session")
def helm() -> Path:
    found = shutil.which("helm", path=os.pathsep.join([os.environ.get("KUBEBUILDER_ASSETS", ""), os.environ["PATH"]]))
    if not found:
        pytest.skip("helm is neither in KUBEBUILDER_ASSETS nor on PATH; make test-unit provides it")
    return Path(found)


def run(helm: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "HELM_CACHE_HOME": "/nonexistent"}
    return subprocess.run([helm, *arguments], capture_output=True, text=True, check=False, env=environment)


def options(settings: tuple[str, ...]) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]


@cache
def render(helm: Path, *settings: str) -> list[dict[str, Any]]:
    """The objects for these settings; rendered once, so not to be changed."""
    done = run(helm, "template", "tephra", str(CHART), "-n", "tephra-system", *options(settings))
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.load_all(done.stdout, yaml.CSafeLoader) if item]


def named(items: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [item for item in items if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def pods(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [item["spec"]["template"]["spec"] for item in items if item["kind"] in {"Deployment", "StatefulSet"}]


@pytest.mark.parametrize("settings", SETS.values(), ids=SETS.keys())
def test_the_chart_passes_the_strict_linter(helm: Path, settings: tuple[str, ...]) -> None:
    done = run(helm, "lint", "--strict", str(CHART), *options(settings))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("settings", SETS.values(), ids=SETS.keys())
def test_every_object_is_named_once_and_labelled_and_every_pod_is_restricted(
    helm: Path, settings: tuple[str, ...]
) -> None:
    items = render(helm, *settings)
    names = [(item["kind"], item["metadata"]["name"]) for item in items]
    assert len(names) == len(set(names))
    assert {item["metadata"]["labels"]["app.kubernetes.io/part-of"] for item in items} == {"tephra"}
    for pod in pods(items):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("settings", SETS.values(), ids=SETS.keys())
def test_the_api_server_takes_every_object_without_a_warning(
    helm: Path, settings: tuple[str, ...], bare_api_server: ApiServer
) -> None:
    kubectl = [program("kubectl"), f"--kubeconfig={bare_api_server.kubeconfig}"]
    apply = [*kubectl, "apply", "--server-side", "--field-manager=test", "--validate=strict", "-f", "-"]
    namespace: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tephra-system"}}
    namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/warn": "restricted"}
    subprocess.run(apply, input=json.dumps(namespace), text=True, check=True, capture_output=True)
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": render(helm, *settings)})
    done = subprocess.run([*apply, "--dry-run=server"], input=manifests, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr


@pytest.mark.parametrize("settings", SETS.values(), ids=SETS.keys())
def test_rights_are_spelt_out_and_secrets_are_never_listed(helm: Path, settings: tuple[str, ...]) -> None:
    rules = [
        rule for item in render(helm, *settings) if item["kind"] in {"Role", "ClusterRole"} for rule in item["rules"]
    ]
    assert "*" not in json.dumps(rules)
    assert rules
    for rule in rules:
        if "secrets" in rule["resources"]:
            assert not {"list", "watch", "deletecollection"} & set(rule["verbs"])


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("operater.replicas=2", "operater"),
        ("operator.replica=2", "replica"),
        ("operator.replicas=two", "want integer"),
        ("operator.resources.limit.cpu=1", "limit"),
        ("operator.logFormat=xml", "logFormat"),
        ("images.operator.tga=1", "tga"),
        ("images.operator.repository=Tephra", "repository"),
        ("images.opeator.tag=1", "opeator"),
        ("bus.authoriser=static", "authoriser"),  # of a bus of one's own
        ("bus.managed=false", "external"),  # and where is it?
        ("bus.external.url=http://bus", "url"),
        ("catalogue.readers=everybody", "readers"),
        ("networkPolicies.apiServerPorts={https}", "apiServerPorts"),
        ("global.registry=https://registry", "registry"),
    ],
)
def test_a_wrong_value_is_refused_and_named(helm: Path, setting: str, what: str) -> None:
    done = run(helm, "template", "tephra", str(CHART), "--set", setting)
    assert done.returncode
    assert "specifications of the schema" in done.stderr
    assert what in done.stderr


def test_the_schema_is_closed_everywhere() -> None:
    def check(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            if schema.get("type") == "object":
                assert "additionalProperties" in schema, path
                assert schema["additionalProperties"] is not True, path
            for key, value in schema.items():
                check(value, f"{path}/{key}")

    check(json.loads((CHART / "values.schema.json").read_text()), "")


def test_every_value_is_described_and_the_readme_is_fresh() -> None:
    text = (CHART / "values.yaml").read_text()
    described = [value.path for value in readme.described(text)]
    for leaf in readme.leaves(yaml.safe_load(text)):
        assert any(leaf == path or leaf.startswith(f"{path}.") for path in described), f"{leaf} has no `# --` comment"
    assert (CHART / "README.md").read_text() == readme.render(), "run python3 charts/readme.py"


def test_crds_are_those_of_the_repository_and_are_kept_unless_told_otherwise(helm: Path) -> None:
    generated = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    for settings, kept in ((), "keep"), (("crds.keep=false",), None):
        shipped = [item for item in render(helm, *settings) if item["kind"] == "CustomResourceDefinition"]
        assert [item["spec"] for item in shipped] == [item["spec"] for item in generated]
        policies = {item["metadata"].get("annotations", {}).get("helm.sh/resource-policy") for item in shipped}
        assert policies == {kept}
    assert "CustomResourceDefinition" not in {item["kind"] for item in render(helm, "crds.install=false")}


def test_the_catalogue_holds_every_folder_with_this_releases_images(helm: Path) -> None:
    settings = ("global.registry=registry.example", "images.silo.tag=1.2", "images.thingvisor-helloworld.tag=v3")
    items = render(helm, *settings, "images.thingvisor-helloworld.repository=tephra/thingvisor-helloworld")
    catalogue = named(items, "ConfigMap", "tephra-catalogue")["data"]
    manifests = {(item["kind"], item["metadata"]["name"]): item for item in map(yaml.safe_load, catalogue.values())}
    folders = {path.parent.name for path in [*ROOT.glob("flavours/*/*.yaml"), *ROOT.glob("thingvisors/*/*.yaml")]}
    assert {name for _, name in manifests} == folders
    assert manifests["Flavour", "mqtt"]["spec"]["controller"]["image"] == "registry.example/tephra/silo:1.2"
    hello = manifests["ThingVisorType", "helloworld"]["spec"]["image"]
    assert hello == "registry.example/tephra/thingvisor-helloworld:v3"
    assert "localhost/" not in json.dumps(catalogue)


def test_a_bus_of_ones_own_replaces_the_charts(helm: Path) -> None:
    items = render(helm, *EXTERNAL)
    assert not [item for item in items if item["metadata"]["name"] == "tephra-bus"]
    container = pods(items)[0]["containers"][0]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["TEPHRA_BUS_URL"] == "mqtts://bus.example:8883"
    assert environment["TEPHRA_BUS_MANAGED"] == "false"
    assert {"name": "bus", "mountPath": environment["TEPHRA_BUS_DIR"], "readOnly": True} in container["volumeMounts"]


def test_nothing_may_reach_the_bus_but_operator_things_and_silos(helm: Path) -> None:
    items = render(helm)
    assert named(items, "NetworkPolicy", "tephra-default-deny")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    bus = named(items, "NetworkPolicy", "tephra-bus")["spec"]
    assert "egress" not in bus
    (rule,) = bus["ingress"]
    assert rule["ports"] == [{"port": 8883}]
    assert all("podSelector" in source for source in rule["from"])


def test_a_changed_image_changes_only_the_pods_that_use_it(helm: Path) -> None:
    def templates(*settings: str) -> dict[str, Any]:
        items = render(helm, *settings)
        return {
            item["kind"]: item["spec"]["template"] for item in items if item["kind"] in {"Deployment", "StatefulSet"}
        }

    before, after = templates(), templates("images.operator.tag=next")
    assert before["StatefulSet"] == after["StatefulSet"]
    assert before["Deployment"] != after["Deployment"]
