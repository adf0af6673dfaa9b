"""Platforms from, and schedules to, plain documents: what JSON and YAML hold. Neighbours: `model`, `wfformat`."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from tephra.placement.schedule.model import Platform, Vcpu, Vm
from tephra.placement.schedule.result import Schedule

Document = Mapping[str, Any]
Value = TypeVar("Value")


def platform_of(document: Document) -> Platform:
    """A platform from a document; raises ValueError naming the field.

    ``vms``: name, network, images (those present), vcpus (name, mips, core: one for the VM unless given);
    ``bandwidth``: between (two networks), mbps; ``repository`` and ``fileServer``: networks; ``images``: bytes by type;
    ``coreCapMillicores``.
    """
    vms: list[tuple[str, Document]]
    vms = [(f"vms[{number}]", vm) for number, vm in enumerate(required(document, "", "vms", list))]
    repository = required(document, "", "repository", str)
    return Platform(
        vms=tuple(_vm(where, vm) for where, vm in vms),
        vcpus=tuple(vcpu for where, vm in vms for vcpu in _vcpus(where, vm)),
        bandwidth_mbps=dict(_bandwidth(document)),
        repository=repository,
        file_server=document.get("fileServer", repository),
        image_bytes={name: required(document["images"], "images", name, int) for name in document.get("images", {})},
        core_cap_m=document.get("coreCapMillicores"),
    )


def document_of(schedule: Schedule) -> dict[str, Any]:
    """A schedule as a document, times in microseconds."""
    return {
        "solver": schedule.solver,
        "makespan_us": schedule.makespan_us,
        "lower_bound_us": schedule.lower_bound_us,
        "gap": round(schedule.gap, 6),
        "runs": [asdict(run) for run in schedule.runs],
        "fetches": [asdict(fetch) for fetch in schedule.fetches],
    }


def _vm(where: str, vm: Document) -> Vm:
    return Vm(required(vm, where, "name", str), required(vm, where, "network", str), frozenset(vm.get("images", ())))


def _vcpus(where: str, vm: Document) -> Iterator[Vcpu]:
    for number, vcpu in enumerate(required(vm, where, "vcpus", list)):
        inside = f"{where}.vcpus[{number}]"
        name, mips = required(vcpu, inside, "name", str), required(vcpu, inside, "mips", int)
        yield Vcpu(name, vm["name"], vcpu.get("core", vm["name"]), mips)


def _bandwidth(document: Document) -> Iterator[tuple[tuple[str, str], int]]:
    """Both ways of each pair."""
    for number, link in enumerate(required(document, "", "bandwidth", list)):
        where = f"bandwidth[{number}]"
        ends, mbps = required(link, where, "between", list), required(link, where, "mbps", int)
        if len(ends) != 2:
            raise ValueError(f"{where}.between: {ends}; give two networks")
        one, other = ends
        yield (one, other), mbps
        yield (other, one), mbps


def required(owner: Any, where: str, name: str, kind: type[Value]) -> Value:
    """The field `name` of the mapping at `where`; raises ValueError when it is not there or of another type."""
    value = owner.get(name) if isinstance(owner, Mapping) else None
    if not isinstance(value, kind):
        path = f"{where}.{name}" if where else name
        raise ValueError(f"{path}: {value!r} is missing or of the wrong type; give a {kind.__name__}")
    return value
