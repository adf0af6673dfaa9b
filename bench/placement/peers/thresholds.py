"""The threshold policies of Beloglazov and Buyya (Concurrency and Computation 24(13), 2012), known through CloudSim.

Every 5 minutes: hosts found overloaded (by one of four detectors) give up guests, those with the least memory first
(minimum migration time, MMT), until they are not; the guests go where they raise power least, in order of decreasing
use (PABFD); then the least used hosts are emptied, one after the other, if all their guests fit elsewhere. Memory is
respected, which CloudSim's own PlanetLab example does not do (its machines ask for none).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.placement.vm_days import Day

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Detector = Callable[[Floats], Floats]  # history of hosts' use (hosts, steps) in shares → highest use allowed, by host

HISTORY = 12  # samples that detectors look at, as in the paper


def thr(history: Floats, limit: float = 0.8) -> Floats:
    """A fixed limit (THR)."""
    return np.full(len(history), limit)


def iqr(history: Floats, safety: float = 1.5) -> Floats:
    """One less `safety` times the interquartile range of the use."""
    low, high = np.percentile(history, [25, 75], axis=1)
    return np.asarray(1 - safety * (high - low))


def mad(history: Floats, safety: float = 2.5) -> Floats:
    """One less `safety` times the median absolute deviation of the use."""
    median = np.median(history, axis=1, keepdims=True)
    return np.asarray(1 - safety * np.median(np.abs(history - median), axis=1))


def lr(history: Floats, safety: float = 1.2) -> Floats:
    """Local regression (Loess, tricube weights): overloaded if `safety` times the next predicted use reaches one."""
    length = history.shape[1]
    x = np.arange(length, dtype=float)
    weight = (1 - ((length - 1 - x) / length) ** 3) ** 3
    centre = (weight * x).sum() / weight.sum()
    mean = (history * weight).sum(1) / weight.sum()
    slope = (history * (weight * (x - centre))).sum(1) / (weight * (x - centre) ** 2).sum()
    predicted = mean + slope * (length - centre)
    # A limit under the present use says overloaded, one over it says not.
    return np.where(safety * predicted >= 1, -1.0, np.inf)


DETECTORS: dict[str, Detector] = {"THR 0.8": thr, "IQR 1.5": iqr, "MAD 2.5": mad, "LR 1.2": lr}
FALLBACK = 0.7  # limit while the history is short, as in CloudSim


class Threshold:
    """One policy on one day."""

    def __init__(self, day: Day, detector: Detector) -> None:
        self.day, self.detector = day, detector
        self.history: list[Floats] = []
        self.idle = np.array([power.idle for power in day.host_power])
        # Watts per unit of CPU, between idle and full: what PABFD compares.
        self.slope = (np.array([power.peak for power in day.host_power]) - self.idle) / day.host_cpu

    def step(self, now: int, host_of: Ints) -> Ints:
        """The next placement (host by guest), from the use at step `now`."""
        fleet = _Fleet(self, self.day.use[:, now], host_of.copy())
        self.history.append(fleet.cpu / self.day.host_cpu)
        limit = self._limits()
        overloaded = fleet.cpu > limit * self.day.host_cpu
        fleet.limit = np.clip(limit, 0, 1) * self.day.host_cpu
        moving = [vm for host in np.flatnonzero(overloaded) for vm in fleet.shed(int(host))]
        for vm in sorted(moving, key=lambda vm: -fleet.use[vm]):
            fleet.move(vm, fleet.best(vm, fleet.guests > 0, np.asarray(~overloaded)))
        fleet.empty_least_used(overloaded)
        return fleet.host_of

    def _limits(self) -> Floats:
        if len(self.history) < HISTORY:
            return np.full(len(self.idle), FALLBACK)
        return self.detector(np.array(self.history[-HISTORY:]).T)


class _Fleet:
    """The sums of one step."""

    def __init__(self, policy: Threshold, use: Floats, host_of: Ints) -> None:
        hosts = len(policy.idle)
        self.policy, self.use, self.host_of = policy, use, host_of
        self.cpu = np.bincount(host_of, use, hosts)
        self.memory = np.bincount(host_of, policy.day.vm_memory, hosts)
        self.guests = np.bincount(host_of, minlength=hosts)
        self.limit = policy.day.host_cpu.astype(float)
        self.received = np.zeros(hosts, np.bool_)

    def shed(self, host: int) -> list[int]:
        """The guests that an overloaded host gives up, the least memory first (MMT)."""
        mine = np.flatnonzero(self.host_of == host)
        order = mine[np.argsort(self.policy.day.vm_memory[mine], kind="stable")]
        left = self.cpu[host] - np.cumsum(self.use[order])
        return [int(vm) for vm in order[: int((left > self.limit[host]).sum()) + 1]]

    def best(self, vm: int, preferred: Bools, allowed: Bools) -> int:
        """Where a guest raises power least: a preferred host, else any allowed, else where it is."""
        day = self.policy.day
        fits = (self.cpu + self.use[vm] <= self.limit) & (self.memory + day.vm_memory[vm] <= day.host_memory) & allowed
        for choice in (fits & preferred, fits):
            if choice.any():
                rise = self.policy.slope * self.use[vm] + np.where(self.guests > 0, 0, self.policy.idle)
                return int(np.argmin(np.where(choice, rise, np.inf)))
        return int(self.host_of[vm])

    def move(self, vm: int, target: int) -> None:
        """Enter a guest's move."""
        for host, sign in ((int(self.host_of[vm]), -1), (target, 1)):
            self.cpu[host] += sign * self.use[vm]
            self.memory[host] += sign * self.policy.day.vm_memory[vm]
            self.guests[host] += sign
        self.received[target] |= target != self.host_of[vm]
        self.host_of[vm] = target

    def empty_least_used(self, overloaded: Bools) -> None:
        """Empty hosts from the least used on, each if all its guests fit other hosts in use."""
        share = self.cpu / self.policy.day.host_cpu
        for host in np.argsort(share, kind="stable").tolist():
            if self.guests[host] and not overloaded[host] and not self.received[host]:
                self._empty(host, np.asarray(~overloaded))

    def _empty(self, host: int, allowed: Bools) -> None:
        allowed[host] = False
        moved: list[int] = []
        before = self.received.copy()
        mine = np.flatnonzero(self.host_of == host).tolist()
        for vm in sorted(mine, key=lambda vm: -self.use[vm]):
            target = self.best(vm, self.guests > 0, allowed & (self.guests > 0))
            if target == host:
                break
            self.move(vm, target)
            moved.append(vm)
        if self.guests[host]:
            for vm in moved:
                self.move(vm, host)
            self.received = before
