"""`tephra-place reoptimise`: earlier answers in, a batch out that is an earlier answer itself."""

import json
import sys
from pathlib import Path

import pytest

from tephra.cli import place

TOPOLOGY = """
sites:
  - {name: near, nodes: [{name: n, cpu_m: 2, memory_mib: 0}]}
  - {name: far, nodes: [{name: f, cpu_m: 1, memory_mib: 0}]}
links: [{a: near, b: far, delay_us: 10, bandwidth_kbps: 100, capacity: shared}]
"""
REQUEST = """
name: %s
shape: single
anchor: user
endpoints: [{name: user, site: near}]
functions: [{name: x, cpu_m: 1, memory_mib: 0%s}]
channels: [{source: user, target: x, bandwidth_kbps: 1}]
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A topology, two requests that leave `near` full, one that must be there."""
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    for name, more in (("a", ""), ("b", ""), ("late", ", max_delay_us: 5")):
        (tmp_path / f"{name}.yaml").write_text(REQUEST % (name, more))
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The command as a person types it."""
    monkeypatch.setattr(sys, "argv", ["tephra-place", *(str(argument) for argument in arguments)])
    return place.main()


def test_a_late_request_is_let_in(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    topology, in_force = files / "topology.yaml", list[object]()
    for name in ("a", "b"):
        assert call(monkeypatch, "solve", topology, files / f"{name}.yaml", *in_force) == place.OK
        (files / f"{name}.json").write_text(capsys.readouterr().out)
        in_force += ["--in-force", files / f"{name}.json"]
    late = files / "late.yaml"
    assert call(monkeypatch, "solve", topology, late, *in_force) == place.REFUSED
    admit = ("reoptimise", topology, *in_force, "--admit", late, "--migrations")
    assert call(monkeypatch, *admit, 0) == place.REFUSED
    capsys.readouterr()
    assert call(monkeypatch, *admit, 1) == place.OK
    batch = json.loads(capsys.readouterr().out)
    assert [(move["function"], move["from"], move["to"]) for move in batch["moved"]] == [("x", "n", "f")]
    assert batch["placements"][-1]["assignment"] == {"x": "n"}
    (files / "batch.json").write_text(json.dumps(batch))
    assert call(monkeypatch, "reoptimise", topology, "--in-force", files / "batch.json", "--migrations", 2) == place.OK
    assert json.loads(capsys.readouterr().out)["after"] == 10


def test_a_budget_below_nothing_is_an_error(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "solve", files / "topology.yaml", files / "a.yaml") == place.OK
    (files / "a.json").write_text(capsys.readouterr().out)
    arguments = ("reoptimise", files / "topology.yaml", "--in-force", files / "a.json", "--migrations", -1)
    assert call(monkeypatch, *arguments) == place.ERROR
    assert "migrations is -1" in capsys.readouterr().err
