"""The sums that a consolidation plan is made on: what each host carries, what would fit, what the fleet draws.

`Books` is the one mutable thing of :mod:`.consolidate`, alive while a plan is made. H hosts, G guests; arrays are by
host, in the order given, save `host_of` (G,).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tephra.placement.energy.consolidate import Guest, Host, Rules

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(slots=True)
class Books:
    """Sums of a fleet; `load` has a row for each of LOAD below."""

    hosts: "Sequence[Host]"
    guests: "Sequence[Guest]"
    rules: "Rules"
    on: Bools
    host_of: NDArray[np.int64]
    group: NDArray[np.int64]
    capacity: Floats  # (2, H) CPU millicores less the headroom, memory MiB
    load: Floats  # (5, H) sums over the guests of a host, in the order of `_weights`
    each: Floats = field(repr=False)  # (5, G)
    guests_of: list[set[int]] = field(repr=False)

    @classmethod
    def of(cls, hosts: "Sequence[Host]", guests: "Sequence[Guest]", host_of: Sequence[int], rules: "Rules") -> "Books":
        """The books of a fleet as it is; hosts that carry guests are on, whatever their node says."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(host.group for host in hosts))}
        where = np.array(host_of, np.int64)
        each = np.array([_weights(guest) for guest in guests], np.float64).reshape(-1, 5).T
        sums = [np.bincount(where, weights, minlength=len(hosts)) for weights in each]
        load = np.array(sums, np.float64)
        guests_of: list[set[int]] = [set() for _ in hosts]
        for guest, host in enumerate(host_of):
            guests_of[host].add(guest)
        cpu = [host.node.cpu_m * (1 - rules.headroom) for host in hosts]
        return cls(
            hosts=hosts,
            guests=guests,
            rules=rules,
            on=np.array([host.node.awake for host in hosts], np.bool_) | (load[COUNT] > 0),
            host_of=where,
            group=np.array([numbers[host.group] for host in hosts], np.int64),
            capacity=np.array([cpu, [host.node.memory_mib for host in hosts]], np.float64).reshape(2, -1),
            load=load,
            each=each,
            guests_of=guests_of,
        )

    def move(self, guest: int, target: int) -> None:
        """Enter a guest's move."""
        source = int(self.host_of[guest])
        self.load[:, source] -= self.each[:, guest]
        self.load[:, target] += self.each[:, guest]
        self.guests_of[source].remove(guest)
        self.guests_of[target].add(guest)
        self.host_of[guest] = target

    def on_host(self, host: int) -> list[int]:
        """The guests of a host, in the order given."""
        return sorted(self.guests_of[host])

    def idle(self) -> Bools:
        """Hosts that are on and carry nothing."""
        return np.asarray(self.on & (self.load[COUNT] < 0.5))

    def memory_used(self) -> Floats:
        """MiB in use."""
        return np.asarray(self.load[MEMORY])

    def overloaded(self) -> Bools:
        """Hosts whose forecast or memory exceeds what they have."""
        return ~self._room(self.load)

    def fits(self, guest: int) -> Bools:
        """Hosts of the guest's class, on or off, other than its own, that would not be overloaded by it."""
        after = self.load + self.each[:, guest : guest + 1]
        room = self._room(after)
        here = int(self.host_of[guest])
        room &= self.group == self.group[here]
        room[here] = False
        return np.asarray(room)

    def tightness(self, guest: int) -> Floats:
        """How full each host would be with the guest: the shares of CPU and memory in use, added."""
        after = self.load + self.each[:, guest : guest + 1]
        capacity = np.maximum(self.capacity, SLACK)
        return np.asarray(self._demand(after) / capacity[0] + after[MEMORY] / capacity[1])

    def can_lose_one(self, without: int) -> bool:
        """Whether the class of host `without`, with that host switched off, has room for the guests of its fullest
        host on its other hosts that are on (N+1). Its own guests must have been moved before."""
        members = (self.group == self.group[without]) & self.on
        members[without] = False
        if members.sum() < 2:
            return False
        fullest = int(np.argmax(np.where(members, self.load[MEMORY] / np.maximum(self.capacity[1], SLACK), -1)))
        members[fullest] = False
        return self._evacuates(fullest, members)

    def _evacuates(self, host: int, among: Bools) -> bool:
        """Whether every guest of `host` finds room `among` others, largest first; the books are as before after."""
        done: list[int] = []
        for guest in sorted(self.guests_of[host], key=lambda g: (-self.guests[g].memory_mib, g)):
            fits = self.fits(guest) & among
            if not fits.any():
                break
            self.move(guest, int(np.argmax(np.where(fits, self.tightness(guest), -np.inf))))
            done.append(guest)
        whole = not self.guests_of[host]
        for guest in done:
            self.move(guest, host)
        return whole

    def watts(self) -> float:
        """What the fleet draws at the forecast means."""
        return sum(
            host.node.power.watts(self.load[MEAN, number] / max(host.node.cpu_m, 1))
            if self.on[number]
            else host.switching.off_watts
            for number, host in enumerate(self.hosts)
        )

    def _room(self, load: Floats) -> Bools:
        """Hosts that would hold `load`."""
        return np.asarray((self._demand(load) <= self.capacity[0] + SLACK) & (load[MEMORY] <= self.capacity[1] + SLACK))

    def _demand(self, load: Floats) -> Floats:
        """CPU demand at the forecast's upper quantile, millicores: see the module docstring of consolidate."""
        correlation = self.rules.correlation
        joint = np.sqrt(np.maximum((1 - correlation) * load[SQUARES] + correlation * load[SPREAD] ** 2, 0))
        return np.asarray((load[MEAN] + joint) * (1 + self.rules.interference * np.maximum(load[COUNT] - 1, 0)))


MEAN, SPREAD, SQUARES, MEMORY, COUNT = range(5)
SLACK = 1e-6  # sums of floats that were added and taken away again


def _weights(guest: "Guest") -> tuple[float, float, float, float, float]:
    spread = guest.cpu_high_m - guest.cpu_m
    return guest.cpu_m, spread, spread * spread, guest.memory_mib, 1.0
