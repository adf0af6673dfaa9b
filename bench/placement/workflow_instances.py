"""The instances of row 5: the fork-join workflow and the two-network platform of the function-scheduling experiments.

Frozen: figures are compared across versions of the schedulers, so neither the numbers nor the order of the random draws
may change. Stated by the source (Fed4IoT D3.2, section 4.2.4): six types A to F, 3(|B|+1) functions (A; |B| chains
B, C, D; E; F), one image of 1.22 GB per type, two networks, a container repository, a file server. From the public
SFlow samples: loads of A, B, C, E, usage of 55.5 % of a core, files of 1 to 3 MB, vCPUs of 2,000 to 3,000 MIPS, links
of 125 MB/s, two vCPUs a core. Ours, since nobody states them: loads of D and F, eight VMs of one core (four a network),
62.5 MB/s between the networks, repository and file server in the first, a cap of 60 % where there is one, loads drawn
within 20 %.
"""

from collections.abc import Iterable

import numpy as np

from tephra.placement.schedule.model import Edge, Platform, Task, Vcpu, Vm, Workflow

PARTITIONS = (2, 3, 5, 8, 12, 16, 20)
SEEDS = range(30)
LOAD_MI = {"A": 4_000, "B": 6_000, "C": 8_000, "D": 6_000, "E": 10_000, "F": 4_000}
SPREAD = 0.2
USAGE_M, CAP_M = 555, 600
FILE_BYTES = (1_000_000, 3_000_000)
IMAGE_BYTES = 1_220_000_000
MIPS = (2_000, 3_000)
VMS_PER_NETWORK, VCPUS_PER_VM = 4, 2
NEAR_MBPS, FAR_MBPS = 1_000, 500
NETWORKS = ("NW1", "NW2")


def workflow(partitions: int, seed: int) -> Workflow:
    """A fork-join of `partitions` chains with loads and file sizes drawn for `seed`."""
    random = np.random.default_rng([seed, partitions])
    chains = [[f"{kind}{number}" for kind in "BCD"] for number in range(1, partitions + 1)]
    tasks = [_task(name, random) for name in ("A", *(name for chain in chains for name in chain), "E", "F")]
    pairs = [("A", "B"), ("B", "C"), ("C", "D"), ("D", "E")]
    links = [_in(chain, a, b) for chain in chains for a, b in pairs] + [("E", "F")]
    return Workflow(tuple(tasks), tuple(Edge(a, b, _size(random)) for a, b in links))


def platform(seed: int, *, warm: bool, capped: bool) -> Platform:
    """Eight VMs of two vCPUs each, speeds drawn for `seed`; every image present on every VM when `warm`."""
    random = np.random.default_rng([seed])
    present = frozenset(LOAD_MI) if warm else frozenset()
    vms = [Vm(f"{net}-vm{number}", net, present) for net in NETWORKS for number in range(1, VMS_PER_NETWORK + 1)]
    speeds = random.integers(MIPS[0], MIPS[1], size=len(vms), endpoint=True)
    return Platform(
        vms=tuple(vms),
        vcpus=tuple(_vcpus(vms, speeds)),
        bandwidth_mbps={(a, b): NEAR_MBPS if a == b else FAR_MBPS for a in NETWORKS for b in NETWORKS},
        repository=NETWORKS[0],
        file_server=NETWORKS[0],
        image_bytes=dict.fromkeys(LOAD_MI, IMAGE_BYTES),
        core_cap_m=CAP_M if capped else None,
    )


def _task(name: str, random: np.random.Generator) -> Task:
    load = round(LOAD_MI[name[0]] * random.uniform(1 - SPREAD, 1 + SPREAD))
    return Task(name, name[0], load, USAGE_M, _size(random) if name == "A" else 0)


def _size(random: np.random.Generator) -> int:
    return int(random.integers(*FILE_BYTES, endpoint=True))


def _in(chain: list[str], source: str, target: str) -> tuple[str, str]:
    """The edge of types `source` -> `target` as it is named in one chain."""
    named = {name[0]: name for name in chain}
    return named.get(source, source), named.get(target, target)


def _vcpus(vms: list[Vm], speeds: np.ndarray) -> Iterable[Vcpu]:
    for vm, mips in zip(vms, speeds, strict=True):
        for number in range(VCPUS_PER_VM):
            yield Vcpu(f"{vm.name}-{number}", vm.name, f"{vm.name}-core", int(mips))
