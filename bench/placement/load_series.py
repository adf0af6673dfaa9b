"""The series of row 7: nine shapes of load that a forecast of a day meets. Frozen.

Half-hour samples. Four are synthetic in the strict sense, built of the parts that forecasting methods assume: a daily
wave, a level that wanders, a trend, weekends. Five are shaped after public traces as their papers and pages describe
them (none of their numbers are used): a data centre machine, an ad exchange, taxi trips, road sensors, PlanetLab VMs.
Every draw comes from the seed; the numbers and the order of the draws must not change, for figures are compared.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]

PERIOD = 48  # half hours a day
DAYS = 42
SEEDS = range(5)


def series(seed: int) -> dict[str, Series]:
    """Every series of a seed, by name; each DAYS * PERIOD values, none negative."""
    makers = ((name, make, np.random.default_rng([seed, number])) for number, (name, make) in enumerate(_MAKERS))
    return {name: np.maximum(make(random), 0.0) for name, make, random in makers}


def _time() -> Series:
    return np.arange(DAYS * PERIOD, dtype=np.float64)


def _wave(phase: float = 0.0, harmonic: float = 0.0) -> Series:
    """A day: one wave and a second one of twice its frequency."""
    angle = 2 * np.pi * (_time() / PERIOD - phase)
    return np.sin(angle) + harmonic * np.sin(2 * angle)


def _noise(random: np.random.Generator, scale: float, memory: float = 0.0) -> Series:
    """First-order autoregressive noise."""
    noise = random.normal(0, scale, DAYS * PERIOD)
    for at in range(1, len(noise)):
        noise[at] += memory * noise[at - 1]
    return noise


def _walk(random: np.random.Generator, scale: float) -> Series:
    return np.asarray(np.cumsum(random.normal(0, scale, DAYS * PERIOD)))


def _weekend(factor: float) -> Series:
    """`factor` on the sixth and seventh day of a week, 1 on the others."""
    return np.where((_time() // PERIOD) % 7 >= 5, factor, 1.0)


def _daily_wave(random: np.random.Generator) -> Series:
    return 50 + 20 * _wave(0.3, 0.3) + _noise(random, 4)


def _wandering_level(random: np.random.Generator) -> Series:
    return 60 + 15 * _wave(0.25) + _walk(random, 0.8) + _noise(random, 3)


def _growing(random: np.random.Generator) -> Series:
    return 30 + 0.02 * _time() + (8 + 0.004 * _time()) * _wave(0.4, 0.2) + _noise(random, 3, 0.5)


def _working_week(random: np.random.Generator) -> Series:
    office = np.clip(2 * _wave(0.3), 0, 1)
    return 10 + 50 * office * _weekend(0.25) + _noise(random, 3, 0.3)


def _machine_cpu(random: np.random.Generator) -> Series:
    """A data centre machine: a low floor, sudden changes of level, short spikes."""
    level = np.repeat(random.choice([8.0, 12.0, 30.0], 12, p=[0.5, 0.3, 0.2]), DAYS * PERIOD // 12)
    spikes = random.binomial(1, 0.01, DAYS * PERIOD) * random.uniform(20, 60, DAYS * PERIOD)
    return level + 2 * _wave(0.2) + spikes + _noise(random, 1.5, 0.4)


def _exchange(random: np.random.Generator) -> Series:
    """Prices or impressions of an exchange: a weak day, much noise, rare tall peaks."""
    peaks = random.binomial(1, 0.004, DAYS * PERIOD) * random.pareto(2.5, DAYS * PERIOD) * 2
    return 1.2 + 0.15 * _wave(0.35) + np.abs(_noise(random, 0.25, 0.2)) + peaks


def _taxis(random: np.random.Generator) -> Series:
    """Trips in a large city: two humps a day, late nights at weekends, one holiday."""
    day = 15_000 + 7_000 * _wave(0.45, 0.45)
    late = np.where((_weekend(0) == 0) & (_time() % PERIOD < 8), 6_000, 0)
    holiday = np.where(_time() // PERIOD == random.integers(14, DAYS), 0.6, 1.0)
    return (day + late) * holiday * (1 + _noise(random, 0.05, 0.6))


def _road(random: np.random.Generator) -> Series:
    """Vehicles at a road sensor: morning and evening peaks on working days."""
    hour = _time() % PERIOD / 2
    peaks = np.exp(-((hour - 8) ** 2) / 2) + 1.2 * np.exp(-((hour - 17.5) ** 2) / 3)
    base = 0.25 + 0.3 * np.clip(_wave(0.3), 0, 1)
    return 200 * (base + peaks * _weekend(0.2)) * (1 + _noise(random, 0.1, 0.3))


def _planetlab_vm(random: np.random.Generator) -> Series:
    """CPU of a small VM: bursts with a memory over a low floor, hardly a day in it."""
    burst = np.zeros(DAYS * PERIOD)
    for at in range(1, len(burst)):
        burst[at] = 0.85 * burst[at - 1] + random.binomial(1, 0.05) * random.exponential(15)
    return 6 + 1.5 * _wave(random.uniform()) + burst + _noise(random, 1)


_MAKERS: tuple[tuple[str, Callable[[np.random.Generator], Series]], ...] = (
    ("daily wave", _daily_wave),
    ("wandering level", _wandering_level),
    ("growing", _growing),
    ("working week", _working_week),
    ("machine CPU", _machine_cpu),
    ("exchange", _exchange),
    ("taxi trips", _taxis),
    ("road sensor", _road),
    ("PlanetLab VM", _planetlab_vm),
)
