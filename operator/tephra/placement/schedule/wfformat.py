"""WfFormat 1.5 (wfcommons.org) documents, as parsed from JSON, to the workflow of `model`.

Read are `workflow.specification` (tasks, their parents, children and files) and, of `workflow.execution`, run time, CPU
use and program of each task.
"""

import re
from collections.abc import Iterator

from tephra.placement import values
from tephra.placement.schedule.document import Document, required
from tephra.placement.schedule.model import Edge, Task, Workflow

VERSION = "1.5"


def load(document: Document, *, mips: int = 1_000) -> Workflow:
    """The workflow of a WfFormat document; `mips` is the speed of a vCPU that takes the recorded run times.

    A task's type is its program, else its name without a trailing number. An edge carries the files that its source
    writes and its target reads; files that no task writes come from the file server.

    Raises ValueError naming the field.
    """
    if (version := document.get("schemaVersion")) != VERSION:
        raise ValueError(f"schemaVersion: {version!r}; this reads WfFormat {VERSION}, convert it first")
    specification = required(required(document, "", "workflow", dict), "workflow", "specification", dict)
    reader = _Reader(specification, document["workflow"].get("execution", {}), mips)
    return Workflow(tuple(reader.tasks()), tuple(reader.edges()))


class _Reader:
    """The parts of one document."""

    def __init__(self, specification: Document, execution: Document, mips: int) -> None:
        where, tasks = "workflow.specification", required(specification, "workflow.specification", "tasks", list)
        self._tasks = {required(task, f"{where}.tasks[{n}]", "id", str): task for n, task in enumerate(tasks)}
        if len(self._tasks) < len(tasks):
            raise ValueError(f"{where}.tasks: an id is given twice; ids are unique")
        self._sizes: dict[str, int] = {
            required(file, f"{where}.files[{n}]", "id", str): required(file, f"{where}.files[{n}]", "sizeInBytes", int)
            for n, file in enumerate(specification.get("files", []))
        }
        self._runs = {run.get("id"): run for run in execution.get("tasks", [])}
        self._mips = mips
        self._writer = {file: name for name, task in self._tasks.items() for file in task.get("outputFiles", [])}

    def tasks(self) -> Iterator[Task]:
        for name, task in self._tasks.items():
            run = self._runs.get(name)
            if run is None:
                raise ValueError(f"workflow.execution.tasks: none with id {name}; its run time is needed")
            owner = f"workflow.execution.tasks[{name}]"
            seconds = values.number(owner, "runtimeInSeconds", run.get("runtimeInSeconds"))
            program = run.get("command", {}).get("program") or re.sub(r"_?(ID)?\d+$", "", task.get("name", name))
            usage = max(1, min(1000, round(run.get("avgCPU", 100) * 10)))
            outside = [file for file in task.get("inputFiles", []) if file not in self._writer]
            work = max(1, round(seconds * self._mips))
            yield Task(name, program, work, usage, sum(self._size(name, file) for file in outside))

    def edges(self) -> Iterator[Edge]:
        pairs = {
            **{(parent, name): None for name, task in self._tasks.items() for parent in task.get("parents", [])},
            **{(name, child): None for name, task in self._tasks.items() for child in task.get("children", [])},
        }
        for source, target in pairs:
            read = self._tasks.get(target, {}).get("inputFiles", [])
            carried = (file for file in read if self._writer.get(file) == source)
            yield Edge(source, target, sum(self._size(target, file) for file in carried))

    def _size(self, task: str, file: str) -> int:
        if file not in self._sizes:
            raise ValueError(f"workflow.specification.files: none with id {file}, which task {task} reads")
        return self._sizes[file]
