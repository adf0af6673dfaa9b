"""Row 6: a synthetic day of 1,000 machines over 800 hosts, consolidated by us and by the threshold policies.

Everyone starts from the same packing by what was requested and sees the same use. Energy is summed over the day from
the hosts' curves at what was really used, with a boot's joules for every host switched on; a host without guests draws
nothing. Memory is respected by all. Baselines that never move: all hosts on, kube-scheduler's spreading, dot-product
packing. Simulated: the hosts, their power and the migrations' cost are arithmetic, no machine is switched.

The bar is on hosts where CPU binds: there the threshold policies move machines all day. On CloudSim's hosts of 4 GiB
memory binds once it is respected, so they too hardly move; those figures are printed without a bar.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import mean

import numpy as np
from numpy.typing import NDArray

from bench.placement.peers.thresholds import DETECTORS, Threshold
from bench.placement.vm_days import SEEDS, STEP_S, STEPS, Day, day
from bench.report import at_most, emit, progress
from tephra.placement.energy.consolidate import Guest, Host, Rules, plan
from tephra.placement.energy.costs import Switching
from tephra.placement.model import Node

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Step = Callable[[int, Ints], Ints]
Outcome = dict[str, float]

SWITCHING = Switching(off_watts=0)
HOUR = 3_600 // STEP_S
RULES = Rules(correlation=0)  # the machines of a day are made independently
RELIEF = replace(RULES, horizon_s=0)  # nothing pays within no time, so nothing is emptied or switched off
HIGH_MARK = 0.95  # a host's use that calls for relief at once
QUANTILE = 0.9
MEMORY_BINDS, CPU_BINDS = 4_096, 32_768  # MiB of a host


@dataclass(slots=True)
class Ours:
    """The planner once an hour, and relief when a host passes the high mark."""

    day: Day
    hosts: tuple[Host, ...]
    moved: Ints  # step of each guest's last move

    @classmethod
    def on(cls, day: Day) -> "Ours":
        nodes = (
            Node(f"host-{number}", int(cpu), int(memory), power=power)
            for number, (cpu, memory, power) in enumerate(
                zip(day.host_cpu, day.host_memory, day.host_power, strict=True)
            )
        )
        hosts = tuple(Host(node, "edge", SWITCHING) for node in nodes)
        return cls(day, hosts, np.full(len(day.vm_cpu), -STEPS))

    def step(self, now: int, host_of: Ints) -> Ints:
        """The next placement, from the use until step `now`."""
        if now % HOUR == 0:
            return self._follow(now, host_of, RULES)
        used = np.bincount(host_of, self.day.use[:, now], len(self.hosts))
        if (used > HIGH_MARK * self.day.host_cpu).any():
            return self._follow(now, host_of, RELIEF)
        return host_of

    def _follow(self, now: int, host_of: Ints, rules: Rules) -> Ints:
        """Carry out a plan made on the last hour."""
        recent = self.day.use[:, now - HOUR + 1 : now + 1]
        low, high = recent.mean(axis=1), np.quantile(recent, QUANTILE, axis=1)
        on = np.bincount(host_of, minlength=len(self.hosts)) > 0
        hosts = tuple(
            replace(host, node=replace(host.node, awake=bool(flag))) for host, flag in zip(self.hosts, on, strict=True)
        )
        guests = tuple(
            Guest(
                name=str(vm),
                host=f"host-{host_of[vm]}",
                cpu_m=float(low[vm]),
                cpu_high_m=float(max(low[vm], high[vm])),
                memory_mib=int(self.day.vm_memory[vm]),
                resident_s=float((now - self.moved[vm]) * STEP_S),
            )
            for vm in range(len(host_of))
        )
        after = host_of.copy()
        for move in plan(hosts, guests, rules).moves:
            after[int(move.guest)] = int(move.target.removeprefix("host-"))
            self.moved[int(move.guest)] = now
        return after


def run(quick: bool) -> None:
    """Two fleets, memory-bound and CPU-bound; means over the seeds."""
    for memory in (CPU_BINDS,) if quick else (MEMORY_BINDS, CPU_BINDS):
        seeds = SEEDS[:1] if quick else SEEDS
        results: dict[str, list[Outcome]] = {}
        for seed in seeds:
            for name, outcome in _policies(day(seed, memory)).items():
                progress(f"{memory} MiB hosts, seed {seed}, {name}: {outcome['kwh']:.1f} kWh")
                results.setdefault(name, []).append(outcome)
        _report(memory, {name: _means(runs) for name, runs in results.items()})


def _policies(day: Day) -> dict[str, Outcome]:
    packed, spread = _dot_product(day), _spread(day)
    steps: dict[str, tuple[Step, Ints]] = {
        "spread (kube-scheduler)": (_stay, spread),
        "dot-product packing": (_stay, packed),
        **{name: (Threshold(day, detector).step, packed) for name, detector in DETECTORS.items()},
        "ours": (Ours.on(day).step, packed),
    }
    outcomes = {name: _simulate(day, step, start) for name, (step, start) in steps.items()}
    return {"all on": _simulate(day, _stay, spread, all_on=True)} | outcomes


def _simulate(day: Day, step: Step, host_of: Ints, *, all_on: bool = False) -> Outcome:
    """The second day, step by step; the policy decides on a step's use and the next step is charged."""
    joules = unserved = full = on_steps = 0.0
    migrations = boots = 0
    on = np.bincount(host_of, minlength=len(day.host_cpu)) > 0
    for now in range(STEPS, 2 * STEPS):
        after = step(now - 1, host_of)
        migrations += int((after != host_of).sum())
        host_of = after
        was, on = on, np.bincount(host_of, minlength=len(day.host_cpu)) > 0
        boots += int((on & ~was).sum())
        _check_memory(day, host_of)
        used: Floats = np.bincount(host_of, day.use[:, now], len(day.host_cpu)).astype(float)
        joules += STEP_S * _watts(day, used, np.asarray(on | all_on))
        unserved += float(np.maximum(used - day.host_cpu, 0).sum())
        full += float((used >= day.host_cpu)[on].sum())
        on_steps += float(on.sum())
    return {
        "kwh": (joules + boots * SWITCHING.boot_joules) / 3.6e6,
        "migrations": migrations,
        "unserved": 100 * unserved / float(day.use[:, STEPS:].sum()),
        "full": 100 * full / on_steps,
    }


def _watts(day: Day, used: Floats, on: NDArray[np.bool_]) -> float:
    """What the hosts that are on draw."""
    total = 0.0
    for curve in set(day.host_power):
        mine = np.array([power is curve for power in day.host_power]) & on
        shares, watts = zip(*curve.points, strict=True)
        total += float(np.interp(used[mine] / day.host_cpu[mine], shares, watts).sum())
    return total


def _check_memory(day: Day, host_of: Ints) -> None:
    held = np.bincount(host_of, day.vm_memory, len(day.host_cpu))
    if (held > day.host_memory).any():
        raise AssertionError("a policy overcommitted memory")


def _stay(now: int, host_of: Ints) -> Ints:
    return host_of


def _spread(day: Day) -> Ints:
    """kube-scheduler's LeastAllocated: each machine to the host with the most room left by request."""
    return _place(day, lambda cpu, memory: -(cpu + memory))


def _dot_product(day: Day) -> Ints:
    """Dot-product packing by request: hosts in use before others, the tightest first."""
    return _place(day, lambda cpu, memory: np.where(cpu + memory > 0, cpu + memory, -1.0))


def _place(day: Day, score: Callable[[Floats, Floats], Floats]) -> Ints:
    """One machine after the other, the largest first, to the fitting host of the highest score."""
    cpu, memory = np.zeros(len(day.host_cpu)), np.zeros(len(day.host_cpu))
    host_of = np.zeros(len(day.vm_cpu), np.int64)
    for vm in np.lexsort((-day.vm_cpu, -day.vm_memory)):
        fits = (cpu + day.vm_cpu[vm] <= day.host_cpu) & (memory + day.vm_memory[vm] <= day.host_memory)
        ranks = score(cpu / day.host_cpu, memory / day.host_memory)
        host = int(np.argmax(np.where(fits, ranks, -np.inf)))
        host_of[vm] = host
        cpu[host] += day.vm_cpu[vm]
        memory[host] += day.vm_memory[vm]
    return host_of


def _means(runs: list[Outcome]) -> Outcome:
    return {key: mean(run[key] for run in runs) for key in runs[0]}


def _report(memory: int, results: dict[str, Outcome]) -> None:
    fleet = f"hosts of {memory // 1024} GiB"
    for name, outcome in results.items():
        extra = {key: outcome[key] for key in ("migrations", "unserved", "full")}
        emit("placement", 6, f"energy of the day, {name}, {fleet}", outcome["kwh"], "kWh", **extra)
    thresholds = _means([results[name] for name in DETECTORS])
    for key, unit, limit in (("kwh", "kWh", 1.0), ("migrations", "migrations", 1 / 7)):
        value, peer = results["ours"][key], thresholds[key]
        bar = at_most(value / peer, limit) if memory == CPU_BINDS else {}
        what = f"our {unit} against the mean of the threshold policies, {fleet}"
        emit("placement", 6, what, value, unit, peer=peer, ratio=value / peer, **bar)
