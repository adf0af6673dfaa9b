"""A real API server serves the CRDs, and alone (no operator) defaults, refuses, explains and prints."""

import asyncio
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tephra.api import API_VERSION, GROUP, VERSION
from tephra.api.kinds import KINDS
from tephra.kube.client import Client
from tephra.kube.errors import Invalid
from tests.support.apiserver import ApiServer, established, program, refusal
from tests.unit.test_crd import fields

DATA = Path(__file__).parents[1] / "data"
BAD = sorted((DATA / "bad").glob("*/*.yaml"))
Run = Callable[[Any], Any]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(scope="module")
def kube(api_server: ApiServer, runner: asyncio.Runner) -> Iterator[Client]:
    client = api_server.client()
    yield client
    runner.run(client.close())


def sample(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    namespace = {"namespace": "default"} if KINDS[kind].info.scope == "Namespaced" else {}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, **namespace}, "spec": spec}


@pytest.mark.parametrize("kind", KINDS)
def test_established_and_structural(kind: str, kube: Client, runner: asyncio.Runner) -> None:
    conditions = runner.run(established(kube, f"{KINDS[kind].info.plural}.{GROUP}"))
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("path", BAD, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_bad_manifest_is_refused_with_its_cause(path: Path, kube: Client, runner: asyncio.Runner) -> None:
    text = path.read_text()
    expected = text.partition("\n")[0].removeprefix("# refused: ")
    assert expected in runner.run(refusal(kube, yaml.safe_load(text)))


def test_every_kind_has_five_bad_manifests() -> None:
    counts = {kind: sum(path.parent.name == kind.lower() for path in BAD) for kind in KINDS}
    assert all(count >= 5 for count in counts.values()), counts


def test_lists_are_bounded(kube: Client, runner: asyncio.Runner) -> None:
    many = [{"id": f"things/weather/t{number}"} for number in range(1001)]
    assert "must have at most 1000 items" in runner.run(
        refusal(kube, sample("VSilo", "many", flavour="mqtt", vThings=many))
    )


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        (sample("ThingVisor", "fixed", type="a"), {"type": "b"}, "type cannot be changed"),
        (sample("VThing", "fixed.a", id="fixed/a"), {"id": "fixed/b"}, "id cannot be changed"),
        (sample("VSilo", "fixed", flavour="a"), {"flavour": "b"}, "flavour cannot be changed"),
        (
            sample("VSilo", "epoch", flavour="a", credentials={"epoch": 2}),
            {"flavour": "a", "credentials": {"epoch": 1}},
            "epoch can only be raised",
        ),
        (
            sample("VSilo", "withdrawn-epoch", flavour="a", credentials={"epoch": 2}),
            {"flavour": "a"},
            "epoch can only be raised",
        ),
    ],
    ids=["type", "id", "flavour", "epoch", "epoch-left-out"],
)
def test_transitions_are_refused(
    before: dict[str, Any], after: dict[str, Any], cause: str, kube: Client, runner: asyncio.Runner
) -> None:
    created = runner.run(kube.create(before))
    with pytest.raises(Invalid, match=cause):
        runner.run(kube.replace({**created, "spec": after}))


def test_new_object_is_in_progress_for_kstatus(kube: Client, runner: asyncio.Runner) -> None:
    """kstatus: observedGeneration differs from generation, so nobody takes a fresh object for a good one."""
    created = runner.run(kube.create(sample("VSilo", "fresh", flavour="mqtt")))
    assert created["status"] == {"observedGeneration": -1}
    assert created["metadata"]["generation"] == 1
    assert created["spec"] == {"flavour": "mqtt", "exposure": "ClusterIP", "credentials": {"epoch": 0}}


def test_access_defaults_to_read_all_command_same(kube: Client, runner: asyncio.Runner) -> None:
    created = runner.run(
        kube.create(sample("ThingVisor", "open", type="helloworld", access={"command": {"from": "All"}}))
    )
    assert created["spec"]["access"] == {"read": {"from": "All"}, "command": {"from": "All"}}


def test_explain_describes_every_field(kube: Client, runner: asyncio.Runner) -> None:
    """What `kubectl explain --recursive` reads: the API server's own OpenAPI document."""
    document = runner.run(kube.raw("GET", f"/openapi/v3/apis/{GROUP}/{VERSION}"))
    schemas = document["components"]["schemas"]
    for kind in KINDS:
        schema = schemas[f"dev.tephra.{VERSION}.{kind}"]
        silent = [path for path, field in fields(schema) if not field.get("description") and "allOf" not in field]
        assert silent == [], kind


def test_objects_are_selectable_by_field(kube: Client, runner: asyncio.Runner) -> None:
    runner.run(kube.create(sample("VThing", "select.me", id="select/me")))
    path = f"/apis/{GROUP}/{VERSION}/vthings?fieldSelector=spec.id%3Dselect%2Fme"
    items = runner.run(kube.raw("GET", path))["items"]
    assert [item["metadata"]["name"] for item in items] == ["select.me"]


CONDITION = {
    "type": "Ready",
    "status": "False",
    "reason": "SecretMissing",
    "message": "Secret key is missing",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
PRINTED: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    (sample("ThingVisor", "printed", type="weather", placement={"site": "rome"}), {"vThings": 3}),
    (sample("VThing", "printed.a", id="printed/a"), {"type": "Room", "commands": ["on", "off"]}),
    (sample("VSilo", "printed", flavour="mqtt"), {"attached": "2/3"}),
    (
        sample(
            "Flavour",
            "printed",
            protocol="mqtt",
            broker={"image": "broker:1", "ports": [{"name": "mqtts", "port": 8883, "protocol": "mqtts"}]},
            controller={"image": "silo:1"},
        ),
        {},
    ),
    (sample("ThingVisorType", "printed", image="weather:1"), {}),
)


@pytest.mark.parametrize(("manifest", "status"), PRINTED, ids=[item["kind"] for item, _ in PRINTED])
def test_kubectl_get_prints(
    manifest: dict[str, Any], status: dict[str, Any], api_server: ApiServer, kube: Client, runner: asyncio.Runner
) -> None:
    runner.run(kube.apply(manifest))
    identity = {key: manifest[key] for key in ("apiVersion", "kind", "metadata")}
    runner.run(
        kube.apply_status({**identity, "status": {"observedGeneration": 1, "conditions": [CONDITION], **status}})
    )
    name, kind = manifest["metadata"]["name"], KINDS[manifest["kind"]].info
    printed = [kubectl(api_server, "get", kind.short_names[0], name, *wide) for wide in ((), ("-o", "wide"))]
    golden = DATA / "golden" / f"kubectl-get-{kind.plural}.txt"
    assert "\n".join(printed) == golden.read_text()


def test_category_lists_namespaced_kinds(api_server: ApiServer, kube: Client, runner: asyncio.Runner) -> None:
    runner.run(kube.apply(sample("VSilo", "in-category", flavour="mqtt")))
    assert "vsilo.tephra.dev/in-category" in kubectl(api_server, "get", "tephra", "-o", "name")


def kubectl(server: ApiServer, *arguments: str) -> str:
    """Output of a real kubectl; the age, which moves, is printed as AGE."""
    command = [program("kubectl"), f"--kubeconfig={server.kubeconfig}", f"--cache-dir={server.folder}", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"\d+s$", "AGE", output, flags=re.MULTILINE)
