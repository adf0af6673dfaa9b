"""Forecasts of load for the next day at most: a point forecast and upper quantiles, in milliseconds, by numpy alone.

Used for headroom: what a host must keep free is the upper quantile of what will be asked. History is cut from its end
into days (``period`` samples), and each method forecasts every day of it from the days before, all at once; the last
row is the forecast, the rows before it against what then came give the residuals whose empirical quantiles are added.

Methods: `seasonal-naive`, the day before. `theta`, after Assimakopoulos and Nikolopoulos (Int. J. Forecasting 16(4),
2000): a median profile, of days or of weeks, whichever did better so far, exponential smoothing of the rest, half of
its trend. `ensemble`, the median of five. Quality is told by MASE (Hyndman and Koehler 2006) and pinball loss (Koenker
and Bassett 1978).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

WINDOW, SHORT = 14, 5  # days that a profile looks back
WEEK = 7
GRID = (0.003, 0.01, 0.03, 0.1, 0.3)  # smoothing per sample
NEAR = 2  # samples to each side whose residuals count for a sample's quantile
LEVELS = (0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Forecast:
    """`point` (horizon,) and, by level, an upper quantile (horizon,); in the unit of the history."""

    point: Array
    quantiles: Mapping[float, Array]


def forecast(
    history: ArrayLike, *, period: int, horizon: int, levels: Sequence[float] = LEVELS, method: str = "theta"
) -> Forecast:
    """The next `horizon` samples after `history` (one-dimensional, oldest first, `period` samples a day).

    Raises ValueError for values that are not finite, less than two days of history, a horizon beyond a day, a level
    outside (0, 1), or an unknown method.
    """
    days = _days(history, period)
    if not 1 <= horizon <= period:
        raise ValueError(f"horizon is {horizon}; it must be 1 to {period}, a day")
    if method not in METHODS:
        raise ValueError(f"method: {method} is not one of {', '.join(METHODS)}")
    for level in levels:
        if not 0 < level < 1:
            raise ValueError(f"level is {level}; it must lie between 0 and 1")
    known = min(WINDOW, len(days) // 2)
    rows = METHODS[method](days, known)
    above = _residual_quantiles(days[known:] - rows[:-1], levels)
    quantiles = {level: (rows[-1] + more)[:horizon] for level, more in zip(levels, above, strict=True)}
    return Forecast(rows[-1][:horizon], MappingProxyType(quantiles))


def mase(actual: ArrayLike, point: ArrayLike, history: ArrayLike, *, period: int) -> float:
    """Mean absolute error over that of the day before, within the history."""
    past = np.asarray(history, dtype=np.float64)
    scale = float(np.mean(np.abs(past[period:] - past[:-period])))
    return float(np.mean(np.abs(np.asarray(actual) - np.asarray(point)))) / scale


def pinball(actual: ArrayLike, quantile: ArrayLike, level: float) -> float:
    """Mean pinball loss of a quantile forecast: `level` for each unit too low, 1 - `level` for each too high."""
    short = np.asarray(actual, dtype=np.float64) - np.asarray(quantile, dtype=np.float64)
    return float(np.mean(np.maximum(level * short, (level - 1) * short)))


def _days(history: ArrayLike, period: int) -> Array:
    """(days, period), cut from the end."""
    values = np.asarray(history, dtype=np.float64)
    if period < 2:
        raise ValueError(f"period is {period}; a day has at least 2 samples")
    if values.ndim != 1 or len(values) < 2 * period:
        raise ValueError(f"history has shape {values.shape}; give one dimension with at least two days, {2 * period}")
    if not np.isfinite(values).all():
        raise ValueError(f"history[{int(np.argmin(np.isfinite(values)))}] is not finite; fill the gap first")
    return values[len(values) % period :].reshape(-1, period)


def _residual_quantiles(residuals: Array, levels: Sequence[float]) -> Array:
    """(levels, period): quantiles of the residuals (days, period) at each sample and those near it."""
    around = np.take(residuals, range(-NEAR, residuals.shape[1] + NEAR), axis=1, mode="wrap")
    near = sliding_window_view(around, 2 * NEAR + 1, axis=1)
    samples = np.moveaxis(near, 1, 0).reshape(residuals.shape[1], -1)
    return np.asarray(np.quantile(samples, levels, axis=1))


# Each method: (days, known) to rows of shape (len(days) - known + 1, period), row r forecasting day known + r.


def _yesterday(days: Array, known: int) -> Array:
    return days[known - 1 :]


def _profile(days: Array, known: int) -> Array:
    """Median of the `known` days before, by sample."""
    return np.asarray(np.median(sliding_window_view(days, known, axis=0), axis=-1))


def _theta(days: Array, known: int) -> Array:
    return _best(days, known, [_daily_theta(days, known), _weekly_theta(days, known)])


def _daily_theta(days: Array, known: int) -> Array:
    """The day's profile, the smoothed distance from it, half of the trend."""
    profile, period = _profile(days, known), days.shape[1]
    trend = _trend(days, known)[:, None] / 2 * (1 + np.arange(period) / period)
    return _best(days, known, [profile + trend + _distance(days, known, profile, alpha) for alpha in GRID])


def _short_theta(days: Array, known: int) -> Array:
    """With a profile of few days."""
    few = min(SHORT, known)
    return _daily_theta(days[known - few :], few)


def _weekly_theta(days: Array, known: int) -> Array:
    """The mean of this day in the last two weeks, and its smoothed error; with less history the daily one."""
    if known < 2 * WEEK:
        return _daily_theta(days, known)
    one, two = (days[known - back : len(days) - back + 1] for back in (WEEK, 2 * WEEK))
    profile = (one + two) / 2
    errors = np.vstack([np.zeros_like(profile[0]), days[known:] - profile[:-1]])
    return _best(days, known, [profile + _smooth(errors, alpha)[:, None] for alpha in GRID])


def _persistent(days: Array, known: int) -> Array:
    """The day's profile, and the last distance from it, which fades as it did before (first autocorrelation)."""
    profile = _profile(days, known)
    rest = (days[known:] - profile[:-1]).ravel()
    memory = float(np.clip(rest[1:] @ rest[:-1] / max(float(rest @ rest), 1e-12), 0, 0.999))
    last = days[known - 1 :, -1] - profile[:, -1]
    return np.asarray(profile + last[:, None] * memory ** np.arange(1, days.shape[1] + 1))


def _ensemble(days: Array, known: int) -> Array:
    members = (_yesterday, _daily_theta, _weekly_theta, _short_theta, _persistent)
    return np.asarray(np.median([member(days, known) for member in members], axis=0))


def _best(days: Array, known: int, candidates: Sequence[Array]) -> Array:
    """The one of the least mean absolute error so far."""
    errors = [float(np.abs(days[known:] - rows[:-1]).mean()) for rows in candidates]
    return candidates[int(np.argmin(errors))]


def _trend(days: Array, known: int) -> Array:
    """Least-squares slope of the daily medians of the `known` days before, per day."""
    steps = np.arange(known) - (known - 1) / 2
    weights = steps / max(float(steps @ steps), 1.0)
    return np.asarray(sliding_window_view(np.median(days, axis=1), known) @ weights)


def _distance(days: Array, known: int, profile: Array, alpha: float) -> Array:
    """(rows, 1): the series smoothed until a row's day, less the row's profile smoothed as if it had always been."""
    return np.asarray(_smooth(days, alpha)[known - 1 :, None] - profile @ _weights(days, alpha)[:, None])


def _smooth(days: Array, alpha: float) -> Array:
    """Simple exponential smoothing by sample, as of the end of each day; before the first all days were like it."""
    fade, todays = (1 - alpha) ** days.shape[1], days @ _weights(days, alpha)
    level, levels = todays[0], np.empty(len(days))
    for day, today in enumerate(todays):
        level = levels[day] = fade * level + (1 - fade) * today
    return levels


def _weights(days: Array, alpha: float) -> Array:
    """What the samples of a day weigh in a smoothed value at its end; they sum to 1."""
    weights = (1 - alpha) ** np.arange(days.shape[1])[::-1]
    return np.asarray(weights / weights.sum())


METHODS: Mapping[str, Callable[[Array, int], Array]] = MappingProxyType(
    {"theta": _theta, "ensemble": _ensemble, "seasonal-naive": _yesterday}
)
