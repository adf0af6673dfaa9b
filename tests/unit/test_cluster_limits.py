"""The host's inotify limit is raised once, remembered, and put back with the last cluster."""

from pathlib import Path

import pytest

from cluster import limits


@pytest.fixture
def knob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEPHRA_CLUSTER_DIR", str(tmp_path / "clusters"))
    monkeypatch.setattr(limits, "INOTIFY", tmp_path / "max_user_instances")
    limits.INOTIFY.write_text("128\n")
    return limits.INOTIFY


def test_raised_and_restored(knob: Path) -> None:
    limits.raise_inotify()
    limits.raise_inotify()
    assert int(knob.read_text()) == limits.NEEDED
    limits.restore_inotify()
    assert int(knob.read_text()) == 128


def test_a_higher_limit_is_left_alone(knob: Path) -> None:
    knob.write_text("8192")
    limits.raise_inotify()
    limits.restore_inotify()
    assert int(knob.read_text()) == 8192
