"""What is scheduled on what: a workflow of functions, and virtual machines that fetch images from a repository.

Immutable and validated on construction. `problem` compiles a pair of them into arrays, which is what every scheduler
reads. Units: million instructions and million instructions per second, bytes, Mbit/s, millicores, microseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType

from tephra.placement import values


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
        owner = f"Task {values.name('Task', 'name', self.name)}"
        values.name(owner, "type", self.type)
        for field_name, least in (("work_mi", 1), ("usage_m", 1), ("input_bytes", 0)):
            values.amount(owner, field_name, getattr(self, field_name), least)
        for vcpu, time in self.measured_us.items():
            values.amount(owner, f"measured_us[{vcpu}]", time, 1)
        object.__setattr__(self, "measured_us", MappingProxyType(dict(self.measured_us)))


@dataclass(frozen=True, slots=True)
class Edge:
    """`target` starts after `source` has ended and its `size_bytes` have arrived."""

    source: str
    target: str
    size_bytes: int = 0

    def __post_init__(self) -> None:
        values.amount(f"Edge {self.source} -> {self.target}", "size_bytes", self.size_bytes)


@dataclass(frozen=True, slots=True)
class Workflow:
    """A directed acyclic graph of tasks."""

    tasks: tuple[Task, ...]
    edges: tuple[Edge, ...]

    def __post_init__(self) -> None:
        names = {task.name for task in self.tasks}
        if not names:
            raise ValueError("Workflow: tasks is empty; give at least one task")
        values.unique("Workflow", "tasks", (task.name for task in self.tasks))
        values.unique("Workflow", "edges", (f"{edge.source} -> {edge.target}" for edge in self.edges))
        for edge in self.edges:
            for end in (edge.source, edge.target):
                values.known("Workflow", "edges", end, names, "its tasks")
        self._check_acyclic()

    def _check_acyclic(self) -> None:
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for edge in self.edges:
            sorter.add(edge.target, edge.source)
        try:
            sorter.prepare()
        except CycleError as error:
            raise ValueError(
                f"Workflow: edges hold a cycle, {' -> '.join(error.args[1])}; remove one of them"
            ) from None


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
        values.amount(f"Vcpu {self.name}", "mips", self.mips, 1)


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
            raise ValueError("Platform: vcpus is empty; give at least one vCPU")
        machines = {vm.name for vm in self.vms}
        values.unique("Platform", "vms", (vm.name for vm in self.vms))
        values.unique("Platform", "vcpus", (vcpu.name for vcpu in self.vcpus))
        for vcpu in self.vcpus:
            values.known(f"Vcpu {vcpu.name}", "vm", vcpu.vm, machines, "the platform's VMs")
        self._check_bandwidth()
        for kind, size in self.image_bytes.items():
            values.amount("Platform", f"image_bytes[{kind}]", size)
        if self.core_cap_m is not None:
            values.amount("Platform", "core_cap_m", self.core_cap_m, 1)
        for name in ("bandwidth_mbps", "image_bytes"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def _check_bandwidth(self) -> None:
        networks = sorted({vm.network for vm in self.vms} | {self.repository, self.file_server})
        for pair in ((one, other) for one in networks for other in networks):
            values.amount("Platform", f"bandwidth_mbps[{' to '.join(pair)}]", self.bandwidth_mbps.get(pair), 1)
