"""What `kubectl wait`, GitOps tools and kstatus make of our objects (issue row 9; facts of kstatus' own rules)."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.system import NAMESPACE, ROOT, System, condition, custom, hello, silo

pytestmark = pytest.mark.cluster

EXAMPLES = (ROOT / "examples/weather", ROOT / "examples/mqtt")


def kstatus(item: dict[str, Any]) -> str:
    """kstatus' generic rules: InProgress, Failed or Current."""
    status = item.get("status", {})
    if status.get("observedGeneration", item["metadata"]["generation"]) != item["metadata"]["generation"]:
        return "InProgress"
    if condition(item, "Stalled").get("status") == "True":
        return "Failed"
    if condition(item, "Reconciling").get("status") == "True" or condition(item, "Ready").get("status") == "False":
        return "InProgress"
    return "Current"


def test_a_new_object_is_in_progress_until_somebody_looks(system: System) -> None:
    system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", "--replicas=0")
    system.kubectl("-n", NAMESPACE, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator")
    try:
        with system.namespace("birth") as namespace:
            for manifest in _one_of_each(system, namespace):
                system.apply(manifest)
                where = manifest["metadata"].get("namespace")
                made = system.get(manifest["kind"], manifest["metadata"]["name"], where)
                assert made["status"]["observedGeneration"] == -1
                assert kstatus(made) == "InProgress"
    finally:
        system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", "--replicas=1")
        system.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/tephra-operator", "--timeout=90s")
        for kind in ("flavour", "thingvisortype"):
            system.kubectl("delete", kind, "kstatus-test", "--ignore-not-found")


def test_every_kind_becomes_ready_and_current(system: System) -> None:
    with system.namespace("ready") as namespace:
        try:
            for manifest in _one_of_each(system, namespace):
                where = manifest["metadata"].get("namespace")
                system.apply(manifest)
                system.wait(manifest["kind"], manifest["metadata"]["name"], where)
                assert kstatus(system.get(manifest["kind"], manifest["metadata"]["name"], where)) == "Current"
        finally:
            for kind in ("flavour", "thingvisortype"):
                system.kubectl("delete", kind, "kstatus-test", "--ignore-not-found")


def test_examples_show_no_difference_after_reconciliation(system: System, weather: None) -> None:
    """Applied once more, nothing of an example would change: right after it was applied, and ever after.

    As time goes by only another pass can change an object: at an event of its own, or at a resync. A new operator plans
    every object anew, so the test starts one and need not wait for the next resync.
    """
    try:
        for folder in EXAMPLES:
            system.apply(folder)
            assert differences(system, folder) == []
        system.wait("vsilo", "remote", "tenant-b")
        system.restart_operator()
        for folder in EXAMPLES:
            assert differences(system, folder) == []
    finally:
        system.kubectl("-n", "things", "delete", "thingvisor", "counters", "--ignore-not-found")
        system.kubectl("delete", "namespace", "tenant-b", "--ignore-not-found", "--wait=false")


def test_operator_writes_no_spec_of_a_user(system: System, weather: None) -> None:
    for kind, name, namespace in (("vsilo", "home", "tenant-a"), ("thingvisor", "weather", "things")):
        shown = system.kubectl("get", kind, name, "-n", namespace, "-o", "json", "--show-managed-fields")
        for entry in json.loads(shown)["metadata"]["managedFields"]:
            if entry["manager"].startswith("tephra"):
                assert set(entry["fieldsV1"]) == {"f:status"}


def differences(system: System, folder: Path) -> list[str]:
    """What a server-side-apply dry run of an example would change, object by object; all but the status counts."""
    live = _comparable(system.kubectl("get", "-f", str(folder), "-o", "json"))
    dry = _comparable(system.kubectl("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", str(folder)))
    assert live.keys() == dry.keys()
    return [f"{name}: {live[name]} would be {dry[name]}" for name in live if live[name] != dry[name]]


def _comparable(listing: str) -> dict[str, Any]:
    """The objects of a JSON list by kind and name, without what every request may change."""
    items = json.loads(listing)["items"]
    for item in items:
        for name in ("managedFields", "resourceVersion"):
            item["metadata"].pop(name, None)
        item.pop("status", None)
    return {f"{item['kind']} {item['metadata']['name']}": item for item in items}


def _one_of_each(system: System, namespace: str) -> list[dict[str, Any]]:
    flavour = system.get("flavour", "mqtt")["spec"]
    type_ = system.get("thingvisortype", "helloworld")["spec"]
    return [
        custom("Flavour", None, "kstatus-test", flavour),
        custom("ThingVisorType", None, "kstatus-test", type_),
        hello(namespace, period=3600),
        custom("VThing", namespace, "hello.hello", {"id": "hello/hello"}),
        silo(namespace, "home", f"{namespace}/hello/hello"),
    ]
