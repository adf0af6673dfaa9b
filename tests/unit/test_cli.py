"""The plugin's shell: flags, exit codes, what --help imports, names, and the pure explanations."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from tephra.api.labels import OWNER_UID
from tephra.cli.health import Health, condition_health, health, pod_health
from tephra.cli.main import ERROR, OK, USAGE, VERBS, CliError, main
from tephra.cli.messages import Message, json_line, plain_line, summary, table
from tephra.cli.session import Target, parse_target
from tephra.cli.tree import Found, draw, forest
from tephra.cli.why import explain, lease_step, suspect

HEAVY = {"aiohttp", "kopf", "pydantic", "asyncio", "yaml", "paho"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("arguments", [["--help"], *([verb, "--help"] for verb in VERBS)], ids=" ".join)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """--help takes under 150 ms because of what it does not import."""
    program = f"""
import sys, atexit
from tephra.cli.main import main
atexit.register(lambda: print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr))
main({arguments})"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (OK, "[]")
    assert done.stdout.startswith("usage: kubectl tephra")


def test_every_verb_is_listed_in_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    assert all(f"    {verb} " in printed for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        ([], "required: VERB"),
        (["dance"], "invalid choice: 'dance'"),
        (["why"], "required: KIND/NAME"),
        (["tail", "vsilo/home", "--count", "0"], "0 is not positive"),
        (["status", "-o", "yaml"], "invalid choice: 'yaml'"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == USAGE
    printed = capsys.readouterr().err
    assert cause in printed
    assert "--help" in printed


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["name", "weather/rome_temp"], "weather.x--rome-5ftemp"),
        (["name", "things/weather/rome_temp"], "weather.x--rome-5ftemp"),
        (["name", "things/weather/a/b"], "weather.x--a-2fb"),
        (["name", "weather.x--rome-5ftemp"], "weather/rome_temp"),
        (["-o", "json", "name", "w/é"], '{"name": "w.x---c3-a9", "id": "w/é"}'),
        (["name", "w/é", "-o", "json"], '{"name": "w.x---c3-a9", "id": "w/é"}'),
    ],
)
def test_name_goes_both_ways(arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == OK
    assert capsys.readouterr().out.strip() == printed


def test_name_that_is_none_ends_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["name", "weather"]) == ERROR
    assert "thingVisor.thing" in capsys.readouterr().err


def test_missing_kubeconfig_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--kubeconfig", "/nowhere/config"]) == ERROR
    assert "/nowhere/config" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["vsilo", "VSilo", "vsilos", "vs"])
def test_kinds_go_by_all_their_names(word: str) -> None:
    assert parse_target(f"{word}/home") == Target("VSilo", "home")


@pytest.mark.parametrize("text", ["home", "pod/home", "vsilo/", "/home"])
def test_other_targets_are_refused_with_the_kinds(text: str) -> None:
    with pytest.raises(CliError, match=r"thingvisor \(tv\)") as refusal:
        parse_target(text)
    assert refusal.value.code == USAGE


# --- health, trees and explanations from objects as the API server has them


def condition(type_: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def item(kind: str, name: str, spec: dict[str, Any], *conditions: dict[str, Any], **status: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": "home", "uid": name, "generation": 2}
    observed = status.pop("observed", 2)
    return {
        "kind": kind,
        "metadata": meta,
        "spec": spec,
        "status": {"observedGeneration": observed, "conditions": list(conditions), **status},
    }


READY = condition("Ready", "True", "Ready", "serves 2 vThings")
DENIED = condition("Ready", "False", "AccessDenied", "vThing a/b/c: not allowed")
STALLED = condition("Stalled", "True", "AccessDenied")
RECONCILING = condition("Reconciling", "True", "WaitingForPod")
WAITING = condition("Ready", "False", "WaitingForPod", "the pod is starting")


@pytest.mark.parametrize(
    ("conditions", "observed", "expected"),
    [
        ((READY,), 2, Health.GOOD),
        ((READY,), 1, Health.WORKING),
        ((), -1, Health.WORKING),
        ((WAITING, RECONCILING), 2, Health.WORKING),
        ((DENIED, STALLED), 2, Health.BAD),
        ((DENIED,), 2, Health.BAD),
    ],
)
def test_health_reads_as_kstatus(conditions: tuple[dict[str, Any], ...], observed: int, expected: Health) -> None:
    assert health(item("VSilo", "s", {"flavour": "mqtt"}, *conditions, observed=observed)) is expected


def test_health_of_conditions_and_pods() -> None:
    assert condition_health(condition("Stalled", "True", "x")) is Health.BAD
    assert condition_health(condition("Placed", "True", "x")) is Health.GOOD
    assert condition_health(condition("PodReady", "Unknown", "x")) is Health.WORKING
    waiting = [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    assert pod_health({"status": {"phase": "Pending", "containerStatuses": waiting}}) is Health.BAD
    assert pod_health({"status": {"phase": "Pending"}}) is Health.WORKING
    assert pod_health({"status": {"conditions": [condition("Ready", "True", "")]}}) is Health.GOOD


def children(owner: str) -> list[dict[str, Any]]:
    labels = {OWNER_UID: owner}
    return [
        {
            "kind": "Deployment",
            "metadata": {"name": f"silo-{owner}", "labels": labels},
            "spec": {"replicas": 1},
            "status": {"readyReplicas": 0},
        },
        {
            "kind": "Pod",
            "metadata": {"name": f"silo-{owner}-1", "labels": labels},
            "spec": {"nodeName": "node-1", "containers": [{}, {}]},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"ready": True, "restartCount": 0, "state": {"running": {}}},
                    {"ready": False, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
                ],
            },
        },
        {
            "kind": "Service",
            "metadata": {"name": f"silo-{owner}", "labels": labels},
            "spec": {"type": "NodePort", "ports": [{"port": 8883}]},
        },
    ]


def test_tree_of_a_silo() -> None:
    silo = item(
        "VSilo",
        "s",
        {"flavour": "mqtt"},
        DENIED,
        STALLED,
        condition("FlavourResolved", "True", "Resolved"),
        endpoints=[{"external": "mqtts://h:1", "secretName": "s-credentials"}],
        vThings=[{"id": "a/b/c", "state": "Denied", "message": "not\nallowed"}, {"id": "a/b/d", "state": "Attached"}],
    )
    drawn = list(draw(forest(Found([silo], children("s")), detail=True), colour=False))
    assert drawn == [
        "✗ VSilo home/s  AccessDenied: vThing a/b/c: not allowed",
        "├─ ✓ Condition FlavourResolved  Resolved",
        "├─ · Endpoint mqtts://h:1  credentials in Secret s-credentials",
        "├─ … Deployment silo-s  0/1 ready",
        "│  └─ ✗ Pod silo-s-1  Running, 1/2 ready, on node-1, 3 restarts, CrashLoopBackOff",
        "├─ · Service silo-s  NodePort 8883",
        "├─ ✗ vThing a/b/c  Denied: not allowed",
        "└─ ✓ vThing a/b/d  Attached",
    ]


def test_things_stand_below_their_thingvisor_and_strays_beside() -> None:
    visor = item("ThingVisor", "w", {"type": "weather"}, READY, condition("PodReady", "True", "Running"))
    mine = item("VThing", "w.a", {"id": "w/a"}, READY)
    stray = item("VThing", "gone.a", {"id": "gone/a"}, observed=-1)
    drawn = list(draw(forest(Found([visor, mine, stray])), colour=False))
    assert drawn == [
        "✓ ThingVisor home/w  Ready: serves 2 vThings",
        "└─ ✓ VThing home/w.a (w/a)  Ready: serves 2 vThings",
        "… VThing home/gone.a (gone/a)  not yet seen by the operator",
    ]


def test_colour_marks_only_the_mark() -> None:
    (line,) = draw(forest(Found([item("Flavour", "f", {}, READY)])), colour=True)
    assert line == "\x1b[32m✓\x1b[0m Flavour home/f  Ready: serves 2 vThings"


@pytest.mark.parametrize(
    ("thing", "sentence"),
    [
        (item("VSilo", "s", {}, READY), "VSilo home/s works: serves 2 vThings."),
        (item("VSilo", "s", {}, observed=-1), "VSilo home/s waits: the operator has not looked at it yet."),
        (
            item("VSilo", "s", {}, READY, observed=1),
            "VSilo home/s waits: the operator has not finished with the newest spec (generation 2).",
        ),
        (
            item("VSilo", "s", {}, WAITING, RECONCILING),
            "VSilo home/s waits: the pod is starting (WaitingForPod). Next: Wait; a first start may pull images.",
        ),
        (
            item("VSilo", "s", {}, DENIED, STALLED),
            "VSilo home/s is not Ready: vThing a/b/c: not allowed (AccessDenied). Next: Ask its owner.",
        ),
        (
            item("VSilo", "s", {}, condition("Ready", "False", "OfTomorrow", "news")),
            "VSilo home/s is not Ready: news (OfTomorrow).",
        ),
    ],
    ids=["works", "unseen", "edited", "waits", "denied", "unknown-reason"],
)
def test_explanation_is_one_sentence_with_the_next_step(thing: dict[str, Any], sentence: str) -> None:
    assert explain(thing).sentence() == sentence


def test_blame_is_followed_to_another_object() -> None:
    schema = condition("Ready", "False", "SchemaInvalid")
    absent = condition("Ready", "False", "VThingNotFound")
    states = [{"id": "a/b/c", "state": "Attached"}, {"id": "x/y/z/1", "state": "NotFound"}]
    assert suspect(item("ThingVisor", "w", {"type": "weather"}, schema)) == ("", Target("ThingVisorType", "weather"))
    assert suspect(item("VSilo", "s", {"flavour": "mqtt"}, schema)) == ("", Target("Flavour", "mqtt"))
    assert suspect(item("VSilo", "s", {}, absent, vThings=states)) == ("x", Target("ThingVisor", "y"))
    assert suspect(item("VThing", "w.a", {"id": "w/a"}, condition("Ready", "False", "NotAnnounced"))) == (
        "home",
        Target("ThingVisor", "w"),
    )
    assert suspect(item("VSilo", "s", {}, DENIED)) is None


def lease(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "sys"}, "spec": {"leaseDurationSeconds": 10, **spec}}


def test_lease_tells_whether_an_operator_is_at_work() -> None:
    fresh = lease(holderIdentity="pod-1", renewTime="2025-12-31T23:59:55.000000Z")
    stale = lease(holderIdentity="pod-1", renewTime="2025-12-31T23:59:00.000000Z")
    assert "pod-1 is at work" in lease_step(fresh, NOW)
    assert "kubectl -n sys get pods" in lease_step(stale, NOW)
    assert "kubectl -n sys get pods" in lease_step(lease(), NOW)


# --- messages

ENTITY = {
    "id": "urn:ngsi-ld:Room:1",
    "type": "Room",
    "@context": ["x"],
    "temperature": {"type": "Property", "value": 21.5, "unitCode": "CEL", "observedAt": "2026-01-01T00:00:00Z"},
    "owner": {"type": "Relationship", "object": "urn:x"},
    "place": {"type": "GeoProperty", "value": {"type": "Point"}},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ENTITY, 'Room temperature=21.5CEL owner=urn:x place={"type":"Point"}'),
        ({"data": [ENTITY], "meta": {}}, 'Room temperature=21.5CEL owner=urn:x place={"type":"Point"}'),
        ({"a": 1}, '{"a":1}'),
        ("hello", "hello"),
        (3, "3"),
    ],
)
def test_summary_shows_values(value: Any, expected: str) -> None:
    assert summary(value) == expected


def test_lines_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    plain_line(Message(0.0, "t", b"\x1b[2Jgone", True))
    assert capsys.readouterr().out.partition(" ")[2] == "t (retained)  [2Jgone\n"


def test_json_lines_decode_the_payload(capsys: pytest.CaptureFixture[str]) -> None:
    json_line(Message(1.5, "t", b'{"a": 1}', False))
    assert json.loads(capsys.readouterr().out) == {"time": 1.5, "topic": "t", "payload": {"a": 1}, "retained": False}


def test_table_redraws_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    show = table(sys.stdout, colour=False)
    for number in range(2):
        show(Message(number, "topic-1", b"%d" % number, False))
    show(Message(2, "topic-2", b"9", False))
    frames = capsys.readouterr().out.split("\x1b[2A")
    assert len(frames) == 3  # two redraws over header and one row
    assert frames[1].splitlines()[1].split()[-3:] == ["2", "topic-1", "1"]
    assert len(frames[2].splitlines()) == 3
