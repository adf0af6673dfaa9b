"""The cache: what counts as a change, what is an echo, and the indexes that planners look things up by."""

from typing import Any

import pytest

from tephra.plan.base import Index, Key
from tephra.reconcile.cache import Cache, What

Object = dict[str, Any]
SILO = Key("VSilo", "a", "home")


def silo(version: int, **more: Any) -> Object:
    """A VSilo as the API server would send it; `more` goes over metadata, `spec` and `status` stand apart."""
    spec, status = more.pop("spec", {"flavour": "mqtt"}), more.pop("status", None)
    meta = {"namespace": "a", "name": "home", "uid": "u1", "generation": 1, "resourceVersion": str(version), **more}
    item: Object = {"apiVersion": "tephra.dev/v1alpha1", "kind": "VSilo", "metadata": meta, "spec": spec}
    return item | ({"status": status} if status is not None else {})


@pytest.fixture
def cache() -> Cache:
    return Cache([Index("by-flavour", "VSilo", lambda item: [item["spec"]["flavour"]])])


def what(cache: Cache, item: Object, **how: bool) -> What | None:
    change = cache.observe(item, **how)
    return change.what if change else None


def test_an_object_appears_is_edited_reported_and_vanishes(cache: Cache) -> None:
    assert what(cache, silo(1)) is What.APPEARED
    assert what(cache, silo(2, generation=2)) is What.EDITED
    assert what(cache, silo(3, generation=2, labels={"x": "y"})) is What.EDITED
    assert what(cache, silo(4, generation=2, labels={"x": "y"}, status={"attached": "1/1"})) is What.REPORTED
    assert what(cache, silo(5), gone=True) is What.VANISHED
    assert cache.get(*SILO) is None


def test_a_mark_for_deletion_is_an_edit(cache: Cache) -> None:
    cache.observe(silo(1))
    assert what(cache, silo(2, deletionTimestamp="2026-11-21T00:00:00Z")) is What.EDITED


@pytest.mark.parametrize("version", [1, 2])
def test_repeated_and_outdated_events_change_nothing(cache: Cache, version: int) -> None:
    cache.observe(silo(2, generation=2))
    assert what(cache, silo(version, generation=1)) is None
    assert cache.get(*SILO) == silo(2, generation=2)


def test_an_object_made_anew_under_the_same_name_appears(cache: Cache) -> None:
    cache.observe(silo(5))
    assert what(cache, silo(9, uid="u2")) is What.APPEARED
    assert what(cache, silo(8), gone=True) is None, "the late deletion of the first one does not take the second"
    assert cache.get(*SILO) is not None


def test_what_is_trimmed_away_is_no_change(cache: Cache) -> None:
    def node(version: int, heartbeat: str, ready: str = "True") -> Object:
        conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}]
        status = {"conditions": conditions, "addresses": [], "images": [{"names": ["x"] * 50}]}
        meta = {"name": "n", "uid": "u", "resourceVersion": str(version), "managedFields": [{}]}
        return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {}, "status": status}

    assert what(cache, node(1, "08:00")) is What.APPEARED
    assert what(cache, node(2, "08:05")) is None
    assert what(cache, node(3, "08:10", ready="False")) is What.REPORTED
    kept = cache.get("Node", "", "n")
    assert kept is not None
    assert kept["status"] == {"addresses": [], "conditions": [{"type": "Ready", "status": "False"}]}
    assert "managedFields" not in kept["metadata"]


def test_a_kind_without_generation_is_edited_by_its_spec(cache: Cache) -> None:
    def node(version: int, **spec: Any) -> Object:
        return {"kind": "Node", "metadata": {"name": "n", "uid": "u", "resourceVersion": str(version)}, "spec": spec}

    cache.observe(node(1))
    assert what(cache, node(2, unschedulable=True)) is What.EDITED


class TestOurOwnStatus:
    """However the answer and the event of our write race, others hear of it once and the object itself never."""

    STATUS = {"observedGeneration": 1, "attached": "1/1"}

    def test_the_answer_comes_first(self, cache: Cache) -> None:
        cache.observe(silo(1))
        cache.expect(SILO, self.STATUS)
        change = cache.settle(SILO, silo(2, status=self.STATUS))
        assert change is not None
        assert change.what is What.ECHOED
        assert what(cache, silo(2, status=self.STATUS)) is None

    def test_the_event_comes_first(self, cache: Cache) -> None:
        cache.observe(silo(1))
        cache.expect(SILO, self.STATUS)
        assert what(cache, silo(2, status=self.STATUS)) is What.ECHOED
        assert cache.settle(SILO, silo(2, status=self.STATUS)) is None

    def test_defaults_of_the_server_do_not_hide_an_echo(self, cache: Cache) -> None:
        cache.observe(silo(1))
        cache.expect(SILO, self.STATUS)
        assert what(cache, silo(2, status={**self.STATUS, "announced": False, "message": ""})) is What.ECHOED

    def test_an_edit_that_the_answer_brings_is_told_by_its_own_event(self, cache: Cache) -> None:
        cache.observe(silo(1))
        cache.expect(SILO, self.STATUS)
        assert cache.settle(SILO, silo(3, generation=2, status=self.STATUS)) is None
        assert what(cache, silo(2, generation=2)) is What.EDITED
        assert what(cache, silo(3, generation=2, status=self.STATUS)) is What.REPORTED

    def test_an_answer_does_not_bring_back_what_is_gone(self, cache: Cache) -> None:
        cache.observe(silo(1))
        cache.expect(SILO, self.STATUS)
        cache.observe(silo(3), gone=True)
        assert cache.settle(SILO, silo(2, status=self.STATUS)) is None
        assert cache.get(*SILO) is None

    def test_somebody_elses_status_is_no_echo(self, cache: Cache) -> None:
        cache.observe(silo(1))
        cache.expect(SILO, self.STATUS)
        assert what(cache, silo(2, status={"observedGeneration": 1, "attached": "7/7"})) is What.REPORTED


def test_indexes_follow_the_objects(cache: Cache) -> None:
    def found(flavour: str) -> list[str]:
        return [item["metadata"]["name"] for item in cache.indexed("by-flavour", flavour)]

    cache.observe(silo(1))
    assert (found("mqtt"), found("ngsi")) == (["home"], [])
    cache.observe(silo(2, generation=2, spec={"flavour": "ngsi"}))
    assert (found("mqtt"), found("ngsi")) == ([], ["home"])
    cache.observe(silo(3), gone=True)
    assert (found("mqtt"), found("ngsi")) == ([], [])


def test_children_are_found_by_their_owner(cache: Cache) -> None:
    def child(kind: str, name: str) -> Object:
        meta = {
            "namespace": "a",
            "name": name,
            "uid": name,
            "resourceVersion": "1",
            "labels": {"tephra.dev/owner": "u1"},
        }
        return {"apiVersion": "v1", "kind": kind, "metadata": meta}

    for item in (child("Service", "s"), child("Pod", "p1"), child("Pod", "p2")):
        cache.observe(item)
    assert len(cache.children("u1")) == 3
    assert {item["metadata"]["name"] for item in cache.children("u1", "Pod")} == {"p1", "p2"}
    cache.observe(child("Pod", "p1"), gone=True)
    assert len(cache.children("u1", "Pod")) == 1
    assert cache.children("nobody") is not None


def replaced(cache: Cache, version: int, *items: Object, rewound: bool = False) -> dict[str, What]:
    changes = cache.replace("VSilo", items, version, rewound=rewound)
    return {change.key.name: change.what for change in changes}


def test_a_complete_list_replaces_a_kind(cache: Cache) -> None:
    cache.observe(silo(1))
    cache.observe(silo(2, name="other", uid="u9"))
    found = replaced(cache, 6, silo(1), silo(5, name="new", uid="u7"))
    assert found == {"new": What.APPEARED, "other": What.VANISHED}
    assert {item["metadata"]["name"] for item in cache.all("VSilo", "a")} == {"home", "new"}
    assert cache.count("VSilo") == 2


def test_a_list_takes_nothing_back_that_events_told_while_it_travelled(cache: Cache) -> None:
    cache.observe(silo(11, generation=2))
    cache.observe(silo(12, name="new", uid="u9"))
    assert replaced(cache, 10, silo(1)) == {}
    kept = cache.get(*SILO)
    assert kept is not None
    assert kept["metadata"]["generation"] == 2
    assert cache.get("VSilo", "a", "new") is not None


def test_after_a_restored_backup_the_list_is_right(cache: Cache) -> None:
    cache.observe(silo(900, generation=9))
    cache.observe(silo(901, name="later", uid="u9"))
    assert cache.newest("VSilo") == 901
    assert replaced(cache, 100, silo(90, generation=2), rewound=True) == {"later": What.VANISHED, "home": What.EDITED}
    assert cache.newest("VSilo") == 90
    assert what(cache, silo(101, generation=3)) is What.EDITED
