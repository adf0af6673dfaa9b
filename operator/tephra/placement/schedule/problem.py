"""A workflow on a platform as arrays of integers: what every scheduler reads. Neighbours: `model`, `timeline`.

Tasks, vCPUs, VMs and images are numbered in the order of the model. Times are microseconds, rounded up.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from statistics import fmean

from tephra.placement.schedule.model import Platform, Task, Vcpu, Workflow

Table = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Problem:
    """The arrays. Built by :func:`compile_problem`.

    `duration[task][vcpu]`; `transfer[(source, target)][vm][vm]` is the time of an edge's data between two VMs (0 within
    one); `input[task][vm]` the time of what comes from the file server; `pull[image][vm]` the time of an image from the
    repository, 0 where it is present; `image[task]`; `vm[vcpu]`; `core[vcpu]`; `usage[task]` and `cap` in millicores.
    """

    tasks: tuple[str, ...]
    images: tuple[str, ...]
    vcpus: tuple[str, ...]
    vms: tuple[str, ...]
    duration: Table
    transfer: dict[tuple[int, int], Table]
    input: Table
    pull: Table
    image: tuple[int, ...]
    vm: tuple[int, ...]
    core: tuple[int, ...]
    usage: tuple[int, ...]
    cap: int | None

    @cached_property
    def predecessors(self) -> Table:
        """The tasks each task waits for."""
        return self._neighbours((target, source) for source, target in self.transfer)

    @cached_property
    def successors(self) -> Table:
        """The tasks that wait for each task."""
        return self._neighbours(self.transfer)

    def _neighbours(self, pairs: Iterable[tuple[int, int]]) -> Table:
        found: list[list[int]] = [[] for _ in self.tasks]
        for task, other in pairs:
            found[task].append(other)
        return tuple(map(tuple, found))

    @cached_property
    def topological(self) -> tuple[int, ...]:
        """Every task after its predecessors."""
        return tuple(TopologicalSorter(dict(enumerate(self.predecessors))).static_order())

    @cached_property
    def siblings(self) -> Table:
        """The other vCPUs of each vCPU's core."""
        return tuple(
            tuple(o for o, core in enumerate(self.core) if core == mine and o != vcpu)
            for vcpu, mine in enumerate(self.core)
        )

    @cached_property
    def mean_duration(self) -> tuple[float, ...]:
        """Per task, over all vCPUs."""
        return tuple(fmean(row) for row in self.duration)

    @cached_property
    def mean_transfer(self) -> dict[tuple[int, int], float]:
        """Per edge, over all pairs of different VMs; 0 when there is one VM."""
        count = len(self.vms) * (len(self.vms) - 1)
        return {edge: sum(map(sum, table)) / max(count, 1) for edge, table in self.transfer.items()}


def compile_problem(workflow: Workflow, platform: Platform) -> Problem:
    """The arrays of a workflow on a platform.

    Raises ValueError when a task's image has no size, or a task takes more of a core than the cap leaves it.
    """
    _check(workflow, platform)
    images = tuple(dict.fromkeys(task.type for task in workflow.tasks))
    task_at = {task.name: number for number, task in enumerate(workflow.tasks)}
    vm_at = {vm.name: number for number, vm in enumerate(platform.vms)}
    cores = list(dict.fromkeys(vcpu.core for vcpu in platform.vcpus))
    return Problem(
        tasks=tuple(task_at),
        images=images,
        vcpus=tuple(vcpu.name for vcpu in platform.vcpus),
        vms=tuple(vm_at),
        duration=tuple(tuple(_duration(task, vcpu) for vcpu in platform.vcpus) for task in workflow.tasks),
        transfer={
            (task_at[edge.source], task_at[edge.target]): _between(platform, edge.size_bytes) for edge in workflow.edges
        },
        input=tuple(_from(platform, platform.file_server, task.input_bytes) for task in workflow.tasks),
        pull=tuple(_pulls(platform, image) for image in images),
        image=tuple(images.index(task.type) for task in workflow.tasks),
        vm=tuple(vm_at[vcpu.vm] for vcpu in platform.vcpus),
        core=tuple(cores.index(vcpu.core) for vcpu in platform.vcpus),
        usage=tuple(task.usage_m for task in workflow.tasks),
        cap=platform.core_cap_m,
    )


def _check(workflow: Workflow, platform: Platform) -> None:
    for task in workflow.tasks:
        if task.type not in platform.image_bytes and not all(task.type in vm.present for vm in platform.vms):
            raise ValueError(f"task {task.name}: no size for image {task.type}; add it to platform.image_bytes")
        if platform.core_cap_m is not None and task.usage_m > platform.core_cap_m:
            raise ValueError(
                f"task {task.name}: usage_m {task.usage_m} is above the cap {platform.core_cap_m}; no core may run it"
            )


def _duration(task: Task, vcpu: Vcpu) -> int:
    return task.measured_us.get(vcpu.name) or -(-task.work_mi * 1_000_000 // vcpu.mips)


def _travel(size_bytes: int, mbps: int) -> int:
    """Bits over Mbit/s are microseconds."""
    return -(-size_bytes * 8 // mbps)


def _from(platform: Platform, network: str, size_bytes: int) -> tuple[int, ...]:
    return tuple(_travel(size_bytes, platform.bandwidth_mbps[network, vm.network]) for vm in platform.vms)


def _between(platform: Platform, size_bytes: int) -> Table:
    rows = [list(_from(platform, vm.network, size_bytes)) for vm in platform.vms]
    for number, row in enumerate(rows):
        row[number] = 0
    return tuple(map(tuple, rows))


def _pulls(platform: Platform, image: str) -> tuple[int, ...]:
    times = _from(platform, platform.repository, platform.image_bytes.get(image, 0))
    return tuple(0 if image in vm.present else time for vm, time in zip(platform.vms, times, strict=True))
