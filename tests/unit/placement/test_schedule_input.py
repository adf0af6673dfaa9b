"""Workflows and platforms as they are read: the WfFormat loader, and what is said about bad input."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tephra.placement.schedule.document import document_of, platform_of
from tephra.placement.schedule.model import Edge, Platform, Task, Vcpu, Vm, Workflow
from tephra.placement.schedule.problem import compile_problem
from tephra.placement.schedule.solve import schedule
from tephra.placement.schedule.wfformat import load
from tests.support.workflows import platform, valid

CAMERAS = json.loads((Path(__file__).parents[2] / "data/placement/cameras.json").read_text())
ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("TEPHRA_SHARED_DATA", ROOT.parent / "shared/data")) / "workflows"
A, B = Task("a", "t", 1), Task("b", "t", 1)
LAN = {("lan", "lan"): 1_000}


def test_wfformat_is_read_with_types_run_times_and_files() -> None:
    workflow = load(CAMERAS, mips=2_000)
    assert workflow.tasks == (
        Task("capture_ID01", "capture", 1_000, 400, 1_000),
        Task("capture_ID02", "capture", 500, 400, 1_000),
        Task("detect_ID03", "yolo", 6_000, 1_000, 5_000_000),
        Task("detect_ID04", "yolo", 5_000, 1_000, 5_000_000),
        Task("report_ID05", "report", 1, 1_000, 0),
    )
    assert set(workflow.edges) == {
        Edge("capture_ID01", "detect_ID03", 2_000_000),
        Edge("capture_ID02", "detect_ID04", 3_000_000),
        Edge("detect_ID03", "report_ID05", 4_000),
        Edge("detect_ID04", "report_ID05", 6_000),
    }


@pytest.mark.parametrize(("file", "tasks", "edges"), [("montage", 58, 114), ("blast", 43, 120)])
def test_recorded_workflows_are_scheduled(file: str, tasks: int, edges: int) -> None:
    found = sorted(SHARED.glob(f"{file}*.json"))
    if not found:
        pytest.skip(f"no {file}*.json in {SHARED}; set TEPHRA_SHARED_DATA")
    workflow = load(json.loads(found[0].read_text()))
    assert (len(workflow.tasks), len(workflow.edges)) == (tasks, edges)
    images = dict.fromkeys({task.type for task in workflow.tasks}, 100_000_000)
    given = workflow, platform([1_000, 1_200, 1_400], images=images, per_vm=2)
    ours, peer = (valid(given, schedule(*given, solver=name)).makespan_us for name in ("aware", "heft"))
    assert ours < peer


def _task(document: dict[str, Any], number: int = 0) -> dict[str, Any]:
    task: dict[str, Any] = document["workflow"]["specification"]["tasks"][number]
    return task


def _run(document: dict[str, Any]) -> dict[str, Any]:
    run: dict[str, Any] = document["workflow"]["execution"]["tasks"][0]
    return run


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda d: d.update(schemaVersion="1.4"), "schemaVersion: '1.4'"),
        (lambda d: d.pop("workflow"), "workflow: None is missing"),
        (lambda d: d["workflow"]["specification"].pop("tasks"), "workflow.specification.tasks: None is missing"),
        (lambda d: _task(d).pop("id"), r"workflow.specification.tasks\[0\].id: None is missing"),
        (lambda d: _task(d, 1).update(id="capture_ID01"), "an id is given twice"),
        (lambda d: _task(d)["inputFiles"].append("gone"), "none with id gone, which task capture_ID01 reads"),
        (lambda d: _task(d)["parents"].append("ghost"), "names 'ghost', which is not among its tasks"),
        (lambda d: _task(d)["parents"].append("report_ID05"), "edges hold a cycle"),
        (lambda d: d["workflow"]["execution"]["tasks"].pop(), "none with id report_ID05; its run time is needed"),
        (
            lambda d: d["workflow"]["execution"]["tasks"][0].update(runtimeInSeconds=float("nan")),
            "runtimeInSeconds is nan; give a finite",
        ),
        (lambda d: d["workflow"]["specification"]["files"][0].update(sizeInBytes="big"), "sizeInBytes: 'big' is"),
    ],
)
def test_a_bad_wfformat_document_is_refused_by_field(spoil: Callable[[dict[str, Any]], Any], complaint: str) -> None:
    document = copy.deepcopy(CAMERAS)
    spoil(document)
    with pytest.raises(ValueError, match=complaint):
        load(document)


PLATFORM: dict[str, Any] = {
    "vms": [
        {"name": "box", "network": "edge", "images": ["yolo"], "vcpus": [{"name": "box-0", "mips": 900}]},
        {"name": "rack", "network": "cloud", "vcpus": [{"name": "rack-0", "core": "c0", "mips": 3_000}]},
    ],
    "bandwidth": [
        {"between": ["edge", "edge"], "mbps": 1_000},
        {"between": ["edge", "cloud"], "mbps": 100},
        {"between": ["cloud", "cloud"], "mbps": 10_000},
    ],
    "repository": "cloud",
    "images": {"yolo": 90_000_000, "capture": 10_000_000, "report": 20_000_000},
    "coreCapMillicores": 1_000,
}


def test_a_platform_is_read_and_a_schedule_is_written() -> None:
    place = platform_of(PLATFORM)
    assert place.vms == (Vm("box", "edge", frozenset({"yolo"})), Vm("rack", "cloud"))
    assert place.vcpus == (Vcpu("box-0", "box", "box", 900), Vcpu("rack-0", "rack", "c0", 3_000))
    assert place.bandwidth_mbps["cloud", "edge"] == place.bandwidth_mbps["edge", "cloud"] == 100
    given = load(CAMERAS), place
    written = json.loads(json.dumps(document_of(valid(given, schedule(*given)))))
    assert {run["task"] for run in written["runs"]} == {task.name for task in given[0].tasks}
    assert written["makespan_us"] == max(run["end_us"] for run in written["runs"]) >= written["lower_bound_us"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda d: d.pop("vms"), "vms: None is missing"),
        (lambda d: d["vms"][1].pop("network"), r"vms\[1\].network: None is missing"),
        (lambda d: d["vms"][0]["vcpus"][0].update(mips="fast"), r"vms\[0\].vcpus\[0\].mips: 'fast' is"),
        (lambda d: d["bandwidth"][0].update(between=["edge"]), r"bandwidth\[0\].between: \['edge'\]; give two"),
        (lambda d: d["bandwidth"].pop(), r"bandwidth_mbps\[cloud to cloud\] is None"),
        (lambda d: d["images"].update(yolo=1.5), "images.yolo: 1.5 is"),
        (lambda d: d.update(coreCapMillicores=0), "core_cap_m is 0"),
    ],
)
def test_a_bad_platform_document_is_refused_by_field(spoil: Callable[[dict[str, Any]], Any], complaint: str) -> None:
    document = copy.deepcopy(PLATFORM)
    spoil(document)
    with pytest.raises(ValueError, match=complaint):
        platform_of(document)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: Task("a", "t", 0), "Task a: work_mi is 0; give an integer >= 1"),
        (lambda: Task("a", "t", 1.5), "Task a: work_mi is 1.5; give an integer"),  # type: ignore[arg-type]
        (lambda: Task("a", "t", 1, input_bytes=-1), "Task a: input_bytes is -1"),
        (lambda: Task("a", "t", 1, measured_us={"cpu": 0}), r"Task a: measured_us\[cpu\] is 0"),
        (lambda: Workflow((), ()), "Workflow: tasks is empty"),
        (lambda: Workflow((A, A), ()), "tasks names 'a' twice"),
        (lambda: Workflow((A,), (Edge("a", "z"),)), "names 'z', which is not among"),
        (lambda: Workflow((A, B), (Edge("a", "b"), Edge("b", "a"))), "edges hold a cycle"),
        (lambda: Workflow((A,), (Edge("a", "a"),)), "edges hold a cycle"),
        (lambda: Vcpu("cpu", "vm", "core", 0), "Vcpu cpu: mips is 0"),
        (lambda: Platform((), (), LAN, "lan", "lan"), "Platform: vcpus is empty"),
        (
            lambda: Platform((), (Vcpu("cpu", "vm", "core", 1),), LAN, "lan", "lan"),
            "Vcpu cpu: vm names 'vm', which is not among",
        ),
        (
            lambda: Platform((Vm("vm", "wan"),), (Vcpu("cpu", "vm", "core", 1),), LAN, "lan", "lan"),
            r"Platform: bandwidth_mbps\[lan to wan\] is None",
        ),
        (lambda: compile_problem(Workflow((A,), ()), platform([1])), "task a: no size for image t"),
        (lambda: compile_problem(Workflow((A,), ()), platform([1], present="t", cap=500)), "above the cap 500"),
    ],
)
def test_bad_models_are_refused_by_field(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()
