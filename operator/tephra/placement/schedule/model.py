"""What is scheduled on what: a workflow of functions, and virtual machines that fetch images from a repository.

Immutable and validated on construction. `problem` compiles a pair of them into arrays, which is what every scheduler
reads. Units: million instructions and million instructions per second, bytes, Mbit/s, millicores, microseconds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Task:
    """One call of a function: `type` names the image it needs, `work_mi` its length in million instructions.

    `usage_m` is the share of a core it takes while it runs (millicores), `input_bytes` what it reads from the file
    server before it starts. `measured_us` gives its time on a vCPU by name where that was measured; elsewhere the time
    is `work_mi` over the vCPU's speed.
    """

    name: str
    type: str
    work_mi: int
    usage_m: int = 1000
    input_bytes: int = 0
    measured_us: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _positive(f"task {self.name}", work_mi=self.work_mi, usage_m=self.usage_m)
        _not_negative(f"task {self.name}", input_bytes=self.input_bytes)
        for vcpu, time in self.measured_us.items():
            _positive(f"task {self.name} on {vcpu}", measured_us=time)
        object.__setattr__(self, "measured_us", MappingProxyType(dict(self.measured_us)))


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` starts after `source` has ended and its `size_bytes` have arrived."""

    source: str
    target: str
    size_bytes: int = 0

    def __post_init__(self) -> None:
        _not_negative(f"edge {self.source} -> {self.target}", size_bytes=self.size_bytes)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A directed acyclic graph of tasks."""

    tasks: tuple[Task, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        names = [task.name for task in self.tasks]
        if not names:
            raise ValueError("workflow.tasks: empty; give at least one task")
        _unique("workflow.tasks", names)
        _unique("workflow.edges", [f"{edge.source} -> {edge.target}" for edge in self.edges])
        for edge in self.edges:
            for end in (edge.source, edge.target):
                _known("workflow.edges", end, names, "a task")
        self._check_acyclic()

    def _check_acyclic(self) -> None:
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for edge in self.edges:
            sorter.add(edge.target, edge.source)
        try:
            sorter.prepare()
        except CycleError as error:
            raise ValueError(f"workflow.edges: a cycle, {' -> '.join(error.args[1])}; a workflow has none") from None


@dataclass(frozen=True, slots=True)
class Vm:
    """A virtual machine in a network; its vCPUs share the images that are `present` and the files it holds."""

    name: str
    network: str
    present: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Vcpu:
    """A virtual CPU of a VM, pinned to a core which other vCPUs may share; one task at a time."""

    name: str
    vm: str
    core: str
    mips: int

    def __post_init__(self) -> None:
        _positive(f"vCPU {self.name}", mips=self.mips)


@dataclass(frozen=True, slots=True)
class Platform:
    """Where a workflow runs.

    `bandwidth_mbps` is by (network, network), both ways and within. `repository` and `file_server` are the networks
    they stand in; the repository serves one transfer at a time. `image_bytes` is by task type. `core_cap_m` bounds the
    usage of the tasks that run on one core at the same time (None: no bound).
    """

    vms: tuple[Vm, ...]
    vcpus: tuple[Vcpu, ...]
    bandwidth_mbps: Mapping[tuple[str, str], int]
    repository: str
    file_server: str
    image_bytes: Mapping[str, int] = field(default_factory=dict)
    core_cap_m: int | None = None

    def __post_init__(self) -> None:
        if not self.vcpus:
            raise ValueError("platform.vcpus: empty; give at least one vCPU")
        machines = [vm.name for vm in self.vms]
        _unique("platform.vms", machines)
        _unique("platform.vcpus", [vcpu.name for vcpu in self.vcpus])
        for vcpu in self.vcpus:
            _known(f"vCPU {vcpu.name}: vm", vcpu.vm, machines, "a VM")
        networks = sorted({vm.network for vm in self.vms} | {self.repository, self.file_server})
        for pair in ((one, other) for one in networks for other in networks):
            if self.bandwidth_mbps.get(pair, 0) <= 0:
                raise ValueError(f"platform.bandwidth_mbps: none between {pair[0]} and {pair[1]}; give Mbit/s above 0")
        for kind, size in self.image_bytes.items():
            _not_negative(f"image {kind}", image_bytes=size)
        if self.core_cap_m is not None:
            _positive("platform", core_cap_m=self.core_cap_m)
        for name in ("bandwidth_mbps", "image_bytes"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


def _positive(owner: str, **values: int) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{owner}: {name} is {value}; it must be above 0")


def _not_negative(owner: str, **values: int) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{owner}: {name} is {value}; it must not be negative")


def _unique(where: str, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{where}: {twice[0]} is given twice; names are unique")


def _known(where: str, name: str, names: Iterable[str], what: str) -> None:
    if name not in names:
        raise ValueError(f"{where}: {name} is not {what} of it; define it or correct the name")
