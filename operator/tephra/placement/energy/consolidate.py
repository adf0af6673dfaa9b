"""Consolidation: which guests to move and which hosts to switch off or wake, and why.

``plan(hosts, guests, rules)`` is pure. It first relieves hosts that the forecast overloads, then empties hosts whose
emptying is worth its disruption, then switches off what stays idle long enough. It is sticky: a guest stays where it is
unless moving it is for a reason, for guests that are packed anew every time move all the time. Three checks hold for
every move: memory is never overcommitted; the CPU forecast with its headroom fits; and every proximity class keeps room
to lose its fullest host (N+1).

CPU of a host is judged by the sum of its guests' forecast means plus their joint spread (upper quantile minus mean),
with pairwise correlation `rules.correlation` (1: spreads add up; 0: independent), raised by `rules.interference` for
each co-runner, because collocated demands are not additive (the INPUT paper, section IV).

A host is emptied only if the share of the fleet's power that it saves, over the share of the fleet's memory that must
be moved, is at least `rules.savings_per_disruption`, and if it pays within `rules.horizon_s`.

Neighbours: :mod:`.costs` says what things cost, :mod:`.fleet` keeps the sums while planning; forecasts come from
:mod:`tephra.placement.forecast`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from tephra.placement import values
from tephra.placement.energy.costs import Switching, Transfer, transfer
from tephra.placement.energy.fleet import Books, Bools
from tephra.placement.model import Node


@dataclass(frozen=True, slots=True)
class Host:
    """A node that guests run on. `group` is its proximity class: guests move within it only."""

    node: Node
    group: str
    switching: Switching = field(default_factory=Switching)
    bandwidth_mbps: float = 1_000.0  # for migrations
    drainable: bool = True

    def __post_init__(self) -> None:
        values.number(f"Host {self.node.name}", "bandwidth_mbps", self.bandwidth_mbps, 1)


@dataclass(frozen=True, slots=True)
class Guest:
    """A running workload: CPU forecast for the horizon (mean and upper quantile, millicores) and memory."""

    name: str
    host: str
    cpu_m: float
    cpu_high_m: float
    memory_mib: int
    dirty_mbps: float = 0.0
    movable: bool = True
    resident_s: float = float("inf")  # how long it has been where it is
    weight: float = 1.0  # how much its disruption counts, against others

    def __post_init__(self) -> None:
        owner = f"Guest {self.name}"
        values.number(owner, "cpu_m", self.cpu_m)
        values.number(owner, "cpu_high_m", self.cpu_high_m, self.cpu_m)
        values.amount(owner, "memory_mib", self.memory_mib)
        values.number(owner, "dirty_mbps", self.dirty_mbps)
        values.number(owner, "weight", self.weight)


@dataclass(frozen=True, slots=True)
class Rules:
    """How far consolidation goes. Defaults suit a plan made once an hour."""

    headroom: float = 0.1  # share of a host's CPU kept free above the forecast's upper quantile
    correlation: float = 0.25  # between guests' spreads
    interference: float = 0.0  # share by which each co-runner raises a guest's demand
    savings_per_disruption: float = 0.5
    horizon_s: float = 3_600.0
    residence_s: float = 1_800.0  # a guest moved more recently stays
    moves: int = 1_000_000  # most moves of one plan
    spare: bool = True  # N+1 per proximity class
    migration_watts: float = 20.0

    def __post_init__(self) -> None:
        for name, most in (("headroom", 0.99), ("correlation", 1.0), ("interference", 1.0)):
            values.number("Rules", name, getattr(self, name), 0, most)
        for name in ("savings_per_disruption", "horizon_s", "residence_s", "migration_watts"):
            values.number("Rules", name, getattr(self, name))
        values.amount("Rules", "moves", self.moves)


@dataclass(frozen=True, slots=True)
class Move:
    """One live migration, with its reason."""

    guest: str
    source: str
    target: str
    transfer: Transfer
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in order: wake, move, switch off. `kept` says of each host that stays on for a reason, why."""

    wake: tuple[str, ...]
    moves: tuple[Move, ...]
    off: tuple[str, ...]
    kept: tuple[tuple[str, str], ...]
    watts_before: float
    watts_after: float

    @property
    def mib(self) -> float:
        """What all moves send."""
        return sum(move.transfer.mib for move in self.moves)

    @property
    def seconds(self) -> float:
        """How long all moves take one after the other."""
        return sum(move.transfer.seconds for move in self.moves)


def plan(hosts: Sequence[Host], guests: Sequence[Guest], rules: Rules = Rules()) -> Plan:
    """The plan for a fleet; ValueError if a guest's host is not among `hosts` or a name comes twice."""
    return _Planner(hosts, guests, rules).run()


class _Planner:
    """The books of one plan while it is made."""

    def __init__(self, hosts: Sequence[Host], guests: Sequence[Guest], rules: Rules) -> None:
        values.unique("Plan", "hosts", (host.node.name for host in hosts))
        values.unique("Plan", "guests", (guest.name for guest in guests))
        self.hosts, self.guests, self.rules = hosts, guests, rules
        index = {host.node.name: number for number, host in enumerate(hosts)}
        for guest in guests:
            values.known(f"Guest {guest.name}", "host", guest.host, index, "the hosts")
        self.books = Books.of(hosts, guests, [index[guest.host] for guest in guests], rules)
        self.watts_before = self.books.watts()
        self.moves: list[Move] = []
        self.woken: list[int] = []
        self.kept: dict[int, str] = {}

    def run(self) -> Plan:
        for crowded in np.flatnonzero(self.books.overloaded()):
            self._relieve(int(crowded))
        for host in self._by_worth():
            self._drain(host)
        off = [host for host in np.flatnonzero(self.books.idle()) if self._switch_off(int(host))]
        names = [host.node.name for host in self.hosts]
        return Plan(
            wake=tuple(names[host] for host in self.woken),
            moves=tuple(self.moves),
            off=tuple(names[host] for host in off),
            kept=tuple((names[host], reason) for host, reason in sorted(self.kept.items())),
            watts_before=self.watts_before,
            watts_after=self.books.watts(),
        )

    def _relieve(self, host: int) -> None:
        """Move guests off an overloaded host, those first that relieve it most for the memory they move."""
        guests = sorted(self._movable(host), key=lambda g: -self.guests[g].cpu_high_m / (self.guests[g].memory_mib + 1))
        for guest in guests:
            if not self.books.overloaded()[host]:
                return
            target = self._target(guest, among=self.books.on)
            if target is None:
                target = self._wake(guest)
            if target is not None:
                self._move(guest, target, f"{self._name(host)} is forecast to exceed its CPU or memory")
        if self.books.overloaded()[host]:
            self.kept[host] = "overloaded: no host can take another of its guests; add capacity"

    def _by_worth(self) -> Iterator[int]:
        """Hosts that might be emptied, the most watts for the least memory first."""
        idle = np.array([host.node.power.idle for host in self.hosts])
        worth = (self.books.memory_used() + 1) / np.maximum(idle, 1e-9)
        occupied = self.books.on & ~self.books.idle()
        yield from (int(host) for host in np.argsort(worth, kind="stable") if occupied[host])

    def _drain(self, host: int) -> None:
        """Empty a host if all its guests find room on hosts that are on, and the gate lets it."""
        guests = self.books.on_host(host)
        reason = self._why_not_drain(host, guests)
        if reason is None:
            targets = self._pack(host, guests)
            if targets is None:
                reason = "its guests fit no other host in use, or the class could then not lose a host"
            else:
                for guest, target in targets:
                    self._move(guest, target, f"empties {self._name(host)}: {self._gain(host):.0f} W idle saved")
        if reason is not None:
            self.kept.setdefault(host, reason)

    def _why_not_drain(self, host: int, guests: Sequence[int]) -> str | None:
        """The first gate that is shut, or None."""
        if host in self.woken or not self.hosts[host].drainable:
            return "it may not be drained"
        if len(self.moves) + len(guests) > self.rules.moves:
            return "the plan's moves are used up"
        stuck = [guest for guest in guests if guest not in self._movable(host)]
        if stuck:
            return f"guest {self.guests[stuck[0]].name!r} may not move yet"
        joules = sum(sent.joules for guest in guests if (sent := self._transfer(guest, host)))
        if self._gain(host) * self.rules.horizon_s <= joules + self._switching_joules(host):
            return "moving its guests and switching it off and on costs more than it saves in the horizon"
        if self._savings_per_disruption(host, guests) < self.rules.savings_per_disruption:
            return "it saves too little for what would be disrupted"
        return None

    def _savings_per_disruption(self, host: int, guests: Sequence[int]) -> float:
        """Share of the fleet's watts saved over share of the fleet's weighted memory moved."""
        moved = sum(self.guests[guest].memory_mib * self.guests[guest].weight for guest in guests)
        total = sum(guest.memory_mib * guest.weight for guest in self.guests)
        return self._gain(host) / max(self.watts_before, 1e-9) / max(moved / max(total, 1), 1e-9)

    def _pack(self, host: int, guests: Sequence[int]) -> list[tuple[int, int]] | None:
        """A target on a host in use for every guest of `host`, the largest first; the books are as before after."""
        done: list[tuple[int, int]] = []
        for guest in sorted(guests, key=lambda g: (-self.guests[g].memory_mib, g)):
            target = self._target(guest, among=self.books.on & ~self.books.idle())
            if target is None:
                break
            self.books.move(guest, target)
            done.append((guest, target))
        good = len(done) == len(guests) and (not self.rules.spare or self.books.can_lose_one(without=host))
        for guest, _ in done:
            self.books.move(guest, host)
        return done if good else None

    def _target(self, guest: int, among: Bools) -> int | None:
        """The host with room that the guest would fill most (best fit over CPU and memory)."""
        fits = self.books.fits(guest) & among
        if not fits.any():
            return None
        return int(np.argmax(np.where(fits, self.books.tightness(guest), -np.inf)))

    def _wake(self, guest: int) -> int | None:
        """Wake the host of the guest's class that costs the least for what it holds."""
        candidates = [int(host) for host in np.flatnonzero(self.books.fits(guest) & ~self.books.on)]
        if not candidates:
            return None
        host = min(candidates, key=lambda c: self.hosts[c].node.power.idle / max(self.hosts[c].node.cpu_m, 1))
        self.books.on[host] = True
        self.woken.append(host)
        return host

    def _switch_off(self, host: int) -> bool:
        """Whether an idle host is switched off; its reason for staying is kept if not."""
        node, switching = self.hosts[host].node, self.hosts[host].switching
        if switching.break_even_s(node.power.idle) >= self.rules.horizon_s:
            self.kept[host] = "switching it off and on again costs more than it saves in the horizon"
        elif self.rules.spare and not self.books.can_lose_one(without=host):
            self.kept[host] = f"class {self.hosts[host].group!r} needs it to survive the loss of a host"
        else:
            self.books.on[host] = False
            self.kept.pop(host, None)
            return True
        return False

    def _move(self, guest: int, target: int, reason: str) -> None:
        source = int(self.books.host_of[guest])
        sent = self._transfer(guest, target)
        assert sent is not None, "only movable guests are moved"
        self.books.move(guest, target)
        self.moves.append(Move(self.guests[guest].name, self._name(source), self._name(target), sent, reason))

    def _movable(self, host: int) -> list[int]:
        """Guests of a host that may move now, once per plan."""
        moved = {move.guest for move in self.moves}
        return [
            number
            for number in self.books.on_host(host)
            if (guest := self.guests[number]).movable
            and guest.name not in moved
            and guest.resident_s >= self.rules.residence_s
            and self._transfer(number, host) is not None
        ]

    def _transfer(self, guest: int, target: int) -> Transfer | None:
        source = int(self.books.host_of[guest])
        bandwidth = min(self.hosts[source].bandwidth_mbps, self.hosts[target].bandwidth_mbps)
        item = self.guests[guest]
        return transfer(item.memory_mib, item.dirty_mbps, bandwidth, self.rules.migration_watts)

    def _gain(self, host: int) -> float:
        """Watts saved by a host that is off instead of idle; what its guests draw above idle goes with them."""
        return self.hosts[host].node.power.idle - self.hosts[host].switching.off_watts

    def _switching_joules(self, host: int) -> float:
        return self.hosts[host].switching.boot_joules + self.hosts[host].switching.shutdown_joules

    def _name(self, host: int) -> str:
        return self.hosts[host].node.name
