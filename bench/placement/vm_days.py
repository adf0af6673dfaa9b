"""A day of 1,000 virtual machines over 800 hosts: what row 6 consolidates. Frozen: its figures depend on every number.

Shaped like the PlanetLab day that CloudSim's users measure with (Beloglazov and Buyya, 2012): the same four kinds of
machine and two kinds of host with their published SPECpower curves, a sample each 5 minutes; and a use that is low in
the mean (about 12 %) with a long tail, follows the day, wanders, and bursts. It is synthetic, not that trace. Two days
are made: the first is the past that forecasts may know, the second is judged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tephra.placement.energy.costs import specpower
from tephra.placement.model import PowerCurve

SEEDS = (1, 2, 3)
STEP_S = 300
STEPS = 288  # a day
VMS, HOSTS = 1_000, 800

# MIPS stand for millicores: one unit of CPU, so that kinds of different speed add up.
VM_KINDS = ((2_500, 870), (2_000, 1_740), (1_000, 1_740), (500, 613))  # MIPS, MiB
G4 = specpower((86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117))
G5 = specpower((93.7, 97, 101, 105, 110, 116, 121, 125, 129, 133, 135))


@dataclass(frozen=True, slots=True)
class Day:
    """`use` (VMs, 2 days of steps) in MIPS; the rest by VM or host."""

    use: NDArray[np.float64]
    vm_cpu: NDArray[np.int64]
    vm_memory: NDArray[np.int64]
    host_cpu: NDArray[np.int64]
    host_memory: NDArray[np.int64]
    host_power: tuple[PowerCurve, ...]


def day(seed: int, host_memory_mib: int = 4_096, *, vms: int = VMS, hosts: int = HOSTS) -> Day:
    """The day of a seed. With hosts of 4 GiB, as in CloudSim, memory binds; with more, CPU does."""
    random = np.random.default_rng(seed)
    kinds = np.array(VM_KINDS)[np.arange(vms) % len(VM_KINDS)]
    return Day(
        use=_shares(random, vms) * kinds[:, :1],
        vm_cpu=kinds[:, 0],
        vm_memory=kinds[:, 1],
        host_cpu=np.where(np.arange(hosts) % 2, 2 * 2_660, 2 * 1_860),
        host_memory=np.full(hosts, host_memory_mib),
        host_power=tuple(G5 if host % 2 else G4 for host in range(hosts)),
    )


def _shares(random: np.random.Generator, vms: int) -> NDArray[np.float64]:
    """Share of each machine's CPU in use, (vms, 2 * STEPS)."""
    steps = np.arange(2 * STEPS)
    base = np.minimum(random.lognormal(np.log(0.07), 1.0, vms), 0.8)[:, None]
    depth, peak = random.uniform(0, 0.7, (vms, 1)), random.normal(0.6, 0.12, (vms, 1))
    daily = 1 + depth * np.cos(2 * np.pi * (steps / STEPS - peak))
    wander = np.empty((vms, 2 * STEPS))
    wander[:, 0] = random.normal(0, 1, vms)
    noise = random.normal(0, np.sqrt(1 - 0.95**2), (vms, 2 * STEPS))
    for step in range(1, 2 * STEPS):
        wander[:, step] = 0.95 * wander[:, step - 1] + noise[:, step]
    bursts = (random.random((vms, 2 * STEPS)) < 0.004) * random.uniform(0.2, 0.8, (vms, 2 * STEPS))
    lasting = sum(np.roll(bursts, shift, axis=1) for shift in range(4))  # 20 minutes
    return np.asarray(np.clip(base * daily * np.exp(0.35 * wander) + lasting, 0, 1))
