"""What a node costs in watts and joules: power curves, switching off and on, and migrating.

Curves are :class:`tephra.placement.model.PowerCurve`. Where one comes from is ranked: measured by the node's
controller, else the SPECpower row of its kind (:func:`specpower`). Used by :mod:`tephra.placement.energy.consolidate`.

Units: watts, joules, seconds, MiB, Mbit/s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tephra.placement import values
from tephra.placement.model import PowerCurve


def specpower(watts: Sequence[float]) -> PowerCurve:
    """The curve of a published SPECpower_ssj2008 result: average watts at evenly spaced loads, active idle first."""
    if len(watts) < 2:
        raise ValueError(f"specpower: watts has {len(watts)} values; give active idle and at least one load")
    return PowerCurve(tuple((step / (len(watts) - 1), value) for step, value in enumerate(watts)))


@dataclass(frozen=True, slots=True)
class Switching:
    """What it costs to switch a node off and on again."""

    off_watts: float = 8.0  # the board controller, so that the node can be woken
    boot_joules: float = 20_000.0
    shutdown_joules: float = 3_000.0

    def __post_init__(self) -> None:
        for field in ("off_watts", "boot_joules", "shutdown_joules"):
            values.number("Switching", field, getattr(self, field))

    def break_even_s(self, idle_watts: float) -> float:
        """How long a node must stay off before switching it off has saved anything; infinite if it never does."""
        saved = idle_watts - self.off_watts
        return (self.boot_joules + self.shutdown_joules) / saved if saved > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one live migration moves, by rounds of pre-copy (each round sends what was written during the last)."""

    mib: float
    seconds: float
    joules: float


def transfer(memory_mib: int, dirty_mbps: float, bandwidth_mbps: float, watts: float) -> Transfer | None:
    """The migration of `memory_mib` whose pages are written at `dirty_mbps`; None if it would never converge.

    Rounds form a geometric series, so memory / (1 - dirty / bandwidth) is sent in all. `watts` is what sending costs
    both ends together while it lasts.
    """
    if dirty_mbps >= bandwidth_mbps:
        return None
    mib = memory_mib / (1 - dirty_mbps / bandwidth_mbps)
    seconds = mib * 8 * 1.048576 / bandwidth_mbps
    return Transfer(mib, seconds, seconds * watts)
