"""What comes in as text: GraphML, Kubernetes Nodes, documents, and the command line over them."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tephra.api import labels
from tephra.cli import place
from tephra.placement import (
    Capacity,
    Function,
    Image,
    Layer,
    Link,
    Placement,
    Policy,
    Request,
    Residual,
    Topology,
    check,
    documents,
    generate,
)
from tephra.placement.solve import solve
from tephra.placement.sources import cluster_nodes, topology_zoo
from tests.support.placement import chain_of, empty, estate

EXAMPLE = Path(__file__).parents[3] / "examples" / "placement"
GRAPHML = """<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
  <key id="a" for="node" attr.name="Latitude"/><key id="b" for="node" attr.name="Longitude"/>
  <key id="c" for="node" attr.name="label"/><key id="d" for="edge" attr.name="LinkSpeedRaw"/>
  <graph edgedefault="undirected">
    <node id="0"><data key="a">0</data><data key="b">0</data><data key="c">Null</data></node>
    <node id="1"><data key="c">Mid</data></node>
    <node id="2"><data key="a">0</data><data key="b">2</data><data key="c">Two</data></node>
    <node id="3"><data key="c">Two</data></node>
    <edge source="0" target="1"/><edge source="1" target="2"><data key="d">1e9</data></edge>
    <edge source="2" target="1"/><edge source="2" target="2"/>
  </graph></graphml>"""


def test_graphml_gives_delays_by_the_great_circle() -> None:
    topology = topology_zoo.parse(GRAPHML)
    assert [site.name for site in topology.sites] == ["Null", "Mid", "Two (2)", "Two (3)"]
    first, second = topology.links  # the loop is gone, the parallel edge merged
    degree_us = round(6371 * np.pi / 180 * 5) + 50  # the middle stands halfway, one degree from each
    assert (first.delay_us, second.delay_us) == (degree_us, degree_us)
    assert (first.bandwidth_kbps, second.bandwidth_kbps) == (topology_zoo.DEFAULT_KBPS, 10**6)
    assert topology.sites[3].longitude == pytest.approx(1.0)  # joined to nobody: the mean of all


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<graphml", "not XML"),
        ("<graphml/>", "no graph with nodes"),
        (GRAPHML.replace('target="1"', 'target="9"', 1), "'0' - '9' names a node that is not there"),
        (GRAPHML.replace("Latitude", "Height"), "no node has Latitude and Longitude"),
    ],
)
def test_what_is_no_topology_is_told(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        topology_zoo.parse(text)


def node(name: str, **changes: Any) -> dict[str, Any]:
    """A Node as the API returns it, in the parts that count."""
    sound: dict[str, Any] = {
        "metadata": {"name": name, "labels": {"tephra.dev/site": "edge", "tephra.dev/class-kata": "true"}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "3920m", "memory": "16400264Ki"},
            "images": [{"names": ["a@sha256:1", "a:1"]}, {}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    for path, value in changes.items():
        *where, last = path.split("__")
        at = sound
        for key in where:
            at = at[key]
        at[last] = value
    return sound


def test_the_clusters_nodes_become_sites() -> None:
    off = {"tephra.dev/site": "core", "tephra.dev/powered-off": "true"}
    nodes = [
        node("n1"),
        node("n2", spec__unschedulable=True),
        node("n3", metadata__labels=off, spec__unschedulable=True),
        node("n4", status__conditions=[{"type": "Ready", "status": "Unknown"}], metadata__labels=None),
    ]
    topology = cluster_nodes.topology(nodes, [Link("edge", "way", 5, 10, Capacity.SHARED)], transit=["way"])
    assert [site.name for site in topology.sites] == ["core", "default", "edge", "way"]
    by_name = {item.name: item for item in topology.nodes}
    first = by_name["n1"]
    assert (first.cpu_m, first.memory_mib) == (3920, 16015)
    assert first.classes == {"container", "kata"}
    assert first.images == {"a@sha256:1", "a:1"}
    assert not by_name["n2"].classes  # cordoned: takes nothing new
    assert not by_name["n4"].classes  # not ready
    assert not by_name["n3"].awake  # sleeps
    assert by_name["n3"].classes == {"container"}  # and may be woken
    assert cluster_nodes.SITE_LABEL == labels.SITE


@pytest.mark.parametrize(
    ("quantity", "cores"), [("4", 4000), ("0.5", 500), ("250m", 250), ("1e1", 10000), ("2k", 2_000_000), ("1500u", 1)]
)
def test_quantities_are_read_as_kubernetes_does(quantity: str, cores: int) -> None:
    assert cluster_nodes.millicores("n", quantity) == cores


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metadata__name": ""}, "metadata.name is missing"),
        ({"status__allocatable": {"cpu": "1"}}, "Node n: status.allocatable.memory is missing"),
        ({"status__allocatable": {"cpu": "many", "memory": "1"}}, "allocatable.cpu is 'many'"),
        ({"status__allocatable": {"cpu": "-1", "memory": "1"}}, "allocatable.cpu is '-1'"),
        ({"status__allocatable": {"cpu": "1", "memory": "1mi"}}, "allocatable.memory is '1mi'"),
    ],
)
def test_nodes_that_cannot_be_read_are_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cluster_nodes.topology([node("n", **changes)])


def test_documents_come_back_as_they_went() -> None:
    topology, request = estate(), chain_of(Function("f", 100, 100, image=Image("x", (Layer("d", 3),))))
    again = documents.decode(Topology, json.loads(json.dumps(documents.encode(topology))))
    assert (again.sites, again.links) == (topology.sites, topology.links)
    assert documents.decode(Request, yaml.safe_load(yaml.safe_dump(documents.encode(request)))) == request
    answer = solve(empty(), request)
    assert documents.decode(Placement, json.loads(json.dumps(documents.encode(answer)))) == answer


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ([], "topology: .* is no mapping"),
        ({}, "topology: sites is missing"),
        ({"sites": {}}, "topology.sites: .* is no list"),
        ({"sites": [{"nam": "x"}]}, r"topology.sites\[0\]: unknown field 'nam'"),
        ({"sites": [{"name": "x", "nodes": [{"name": "n", "cpu_m": float("nan"), "memory_mib": 1}]}]}, "cpu_m is nan"),
        ({"sites": [{"name": "x", "nodes": [{"name": "n", "cpu_m": 1, "memory_mib": 1, "awake": True}]}]}, None),
    ],
)
def test_documents_that_are_wrong_say_where(document: object, says: str | None) -> None:
    if says is None:
        documents.decode(Topology, document)
        return
    with pytest.raises(ValueError, match=says):
        documents.decode(Topology, document)


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any, str]:
    """The exit code, the document printed, and what went to stderr."""
    monkeypatch.setattr(sys, "argv", ["tephra-place", *map(str, words)])
    code = place.main()
    out, err = capsys.readouterr()
    return code, yaml.safe_load(out), err


def _file(folder: Path, name: str, value: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(documents.encode(value)))
    return path


def test_the_command_line_places_refuses_and_explains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topology, request = _file(tmp_path, "t.json", estate()), chain_of(Function("f", 2000, 512))
    asked, picture = _file(tmp_path, "r.json", request), tmp_path / "map.png"
    code, answer, _ = run(monkeypatch, capsys, "solve", topology, asked, "--plot", picture, "--output", "yaml")
    assert (code, answer["placed"], answer["placement"]["assignment"]) == (0, True, {"f": "e1"})
    assert picture.read_bytes().startswith(b"\x89PNG")
    check.require(empty(), request, Policy(), documents.decode(Placement, answer["placement"]))
    held = _file(tmp_path, "held.json", answer)
    other = _file(tmp_path, "o.json", chain_of(Function("f", 2000, 512, max_delay_us=600), name="other"))
    code, answer, _ = run(monkeypatch, capsys, "solve", topology, other, "--in-force", held)
    assert (code, answer["placed"]) == (3, False)
    assert answer["refusal"]["relaxation"]["field"] == "max_delay_us"
    code, _, error = run(monkeypatch, capsys, "solve", topology, tmp_path / "nothing.json")
    assert code == 1
    assert "nothing.json" in error


def test_the_example_is_placed_and_its_refusal_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where, policy_file = EXAMPLE / "estate.yaml", EXAMPLE / "policy.yaml"
    code, answer, _ = run(monkeypatch, capsys, "solve", where, EXAMPLE / "guard.yaml", "--policy", policy_file)
    assert (code, answer["gap"]) == (0, 0)
    placement = documents.decode(Placement, answer["placement"])
    topology = documents.decode(Topology, yaml.safe_load((EXAMPLE / "estate.yaml").read_text()))
    policy = documents.decode(Policy, yaml.safe_load((EXAMPLE / "policy.yaml").read_text()))
    check.require(Residual.of(topology), placement.request, policy, placement)
    assert placement.assignment == {"detect": "cabinet-1", "track": "city-1", "archive": "city-2"}
    greedy = tmp_path / "greedy.yaml"
    greedy.write_text((EXAMPLE / "guard.yaml").read_text().replace("cpu_m: 3000", "cpu_m: 5000"))
    code, answer, _ = run(monkeypatch, capsys, "solve", where, greedy, "--policy", policy_file)
    assert (code, answer["refusal"]["resource"]) == (3, "cpu_m")
    assert answer["refusal"]["relaxation"]["field"] == "max_delay_us"  # 1000 → 1200 is less than 5000 → 3600


def test_the_example_fleet_sleeps_but_for_what_n_plus_one_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, plan, _ = run(monkeypatch, capsys, "consolidate", EXAMPLE / "fleet.yaml")
    assert (code, len(plan["off"]), plan["mib"]) == (0, 1, 4096)
    assert plan["watts_after"] < plan["watts_before"]


def test_the_command_line_simulates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topology = _file(tmp_path, "t.json", generate.waxman(np.random.default_rng(0), 12, 4000))
    picture = tmp_path / "curve.svg"
    words = (topology, "--data-centres", 4, "--chains", 30, "--functions", 4, "--life", 10, "--plot", picture)
    code, answer, _ = run(monkeypatch, capsys, "simulate", *words)
    assert code == 0
    assert answer["accepted"] + answer["refused"] == 30
    assert answer["departed"] > 0
    assert "<svg" in picture.read_text()
    again = run(monkeypatch, capsys, "simulate", *words)[1]
    assert again["events"] == answer["events"]
    arrivals = [{"at": 0.0, "request": documents.encode(chain_of(Function("f", 1, 1), user="s0"))}]
    listed = _file(tmp_path, "a.json", arrivals)
    assert run(monkeypatch, capsys, "simulate", topology, "--arrivals", listed)[1]["refused"] == 1  # no servers


def test_the_clusters_own_nodes_are_placed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = _file(tmp_path, "nodes.json", {"kind": "List", "items": [node("n1")]})
    links = _file(tmp_path, "links.json", [])
    asked = _file(tmp_path, "r.json", chain_of(Function("f", 1, 1, "kata"), user="edge"))
    code, answer, _ = run(monkeypatch, capsys, "solve", nodes, asked, "--links", links)
    assert (code, answer["placement"]["assignment"]) == (0, {"f": "n1"})


def test_the_benchmarks_instances_stay_as_they_are() -> None:
    """A change of the generator would change what figures are about; so would another stream of random numbers."""
    total = 0
    for seed in range(10):
        residual, request, policy = generate.instance(np.random.default_rng(seed))
        total += int(residual.node_free.sum() + residual.topology.arc_delay.sum() + policy.opening + policy.acceptance)
        total += sum(function.cpu_m + function.memory_mib for function in request.functions)
        total += sum(channel.bandwidth_kbps for channel in request.channels)
    assert total == 9904654


def test_arrivals_ask_for_the_load_that_is_offered() -> None:
    random = np.random.default_rng(3)
    topology, arrivals = generate.offered(random, generate.with_data_centres(random, estate(), 2, 3), 10, 6, 0.9)
    for column, field in enumerate(("cpu_m", "memory_mib")):
        asked = sum(getattr(function, field) for request in arrivals for function in request.functions)
        assert asked / topology.node_capacity[:, column].sum() == pytest.approx(0.9, abs=0.01)
    assert (Residual.of(topology).node_free > 0).all()
