"""`tephra-place schedule` and `forecast`: real files in, JSON and pictures out, and one line where the input is bad."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from tephra.cli import place_schedule
from tephra.cli.plot_schedule import curves

CAMERAS = Path(__file__).parents[2] / "data/placement/cameras.json"
PLATFORM = """
vms:
  - {name: box, network: edge, vcpus: [{name: box-0, mips: 900}, {name: box-1, mips: 900}]}
  - {name: rack, network: edge, vcpus: [{name: rack-0, mips: 3000}]}
bandwidth: [{between: [edge, edge], mbps: 1000}]
repository: edge
images: {yolo: 90000000, capture: 10000000, report: 20000000}
"""


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    path = tmp_path / "platform.yaml"
    path.write_text(PLATFORM)
    return path


def call(*arguments: object) -> None:
    """The sub-command as `tephra-place` calls it."""
    parser = argparse.ArgumentParser()
    place_schedule.add(parser.add_subparsers())
    options = parser.parse_args([str(argument) for argument in arguments])
    options.run(options)


def test_a_workflow_is_scheduled_and_drawn(platform: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for picture in ("gantt.png", "gantt.svg"):
        call("schedule", CAMERAS, platform, "--limit", 2, "--plot", tmp_path / "made" / picture)
    lines = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "}")
    assert len({run["vcpu"] for run in lines["runs"]}) <= 2
    assert (tmp_path / "made/gantt.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "made/gantt.svg").read_text()


def test_curves_are_drawn(tmp_path: Path) -> None:
    panels = {"time": {"ours": [1.0, 2.0], "peer": [2.0, 3.0]}, "sharing": {"ours": [1.0, 1.5], "peer": [1.0, 1.0]}}
    curves("two panels", [2, 5], panels, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_without_matplotlib_the_extra_is_named(platform: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match=r"tephra\[plots\]"):
        call("schedule", CAMERAS, platform, "--plot", tmp_path / "gantt.png")


@pytest.mark.parametrize("suffix", [".txt", ".json"])
def test_a_load_is_forecast(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"load{suffix}"
    samples = [1.0, 2.0, 3.0, 4.0] * 5
    path.write_text(json.dumps(samples) if suffix == ".json" else "\n".join(map(str, samples)))
    call("forecast", path, "--period", 4, "--horizon", 2, "--levels", 0.9)
    result = json.loads(capsys.readouterr().out)
    assert result["point"] == pytest.approx([1, 2])
    assert result["quantiles"]["0.9"] == pytest.approx([1, 2])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("schedule", "gone.json", "PLATFORM"), "gone.json: .*No such file"),
        (("schedule", "PLATFORM", "PLATFORM"), "platform.yaml: schemaVersion: None"),
        (("schedule", CAMERAS, CAMERAS), "cameras.json: vms: None is missing"),
        (("schedule", CAMERAS, "PLATFORM", "--limit", 0), "limit is 0"),
        (("schedule", CAMERAS, "PLATFORM", "--limit", 1, "--solver", "heft"), "heft has no limit"),
        (("forecast", "PLATFORM", "--period", 4), "platform.yaml: could not convert"),
    ],
)
def test_bad_input_ends_in_one_line(arguments: tuple[object, ...], complaint: str, platform: Path) -> None:
    with pytest.raises(SystemExit, match=complaint):
        call(*(platform if argument == "PLATFORM" else argument for argument in arguments))
