"""Row 7: forecasts of a day beside the daily seasonal naive, with quantiles made by the same machinery for all.

Series of :mod:`bench.placement.load_series`; the last six days of each are forecast one by one, each from all days
before it. Errors are in units of the naive's error within the history (that is MASE; pinball losses likewise), so that
series of different size may be averaged. Time is CPU time of one forecast with its two quantiles.
"""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.placement.load_series import PERIOD, SEEDS, Series, series
from bench.report import at_most, emit, percentile, progress
from tephra.placement.forecast import LEVELS, METHODS, forecast, mase, pinball

BENCH, ROW = "placement", 7
PEER = "seasonal-naive"
FOLDS = 6
LIMIT_MS = 5.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One day of one series forecast by one method: scaled errors, shares of the day below the quantiles, CPU time."""

    errors: dict[str, float]
    covered: dict[str, float]
    milliseconds: float


def run(quick: bool) -> None:
    trials: dict[tuple[str, str], list[Trial]] = {}
    for seed in SEEDS[:1] if quick else SEEDS:
        progress(f"seed {seed}")
        for name, values in series(seed).items():
            for method in METHODS:
                trials.setdefault((name, method), []).extend(_trials(values, method))
    for method in (method for method in METHODS if method != PEER):
        _report(method, trials)


def _trials(values: Series, method: str) -> Iterator[Trial]:
    for fold in range(FOLDS, 0, -1):
        now = len(values) - fold * PERIOD
        history, actual = values[:now], values[now : now + PERIOD]
        begin = time.process_time()
        result = forecast(history, period=PERIOD, horizon=PERIOD, method=method)
        spent = time.process_time() - begin
        scale = float(np.mean(np.abs(history[PERIOD:] - history[:-PERIOD])))
        errors = {f"pinball {level}": pinball(actual, result.quantiles[level], level) / scale for level in LEVELS}
        covered = {f"{level}": float(np.mean(actual <= result.quantiles[level])) for level in LEVELS}
        yield Trial({"MASE": mase(actual, result.point, history, period=PERIOD)} | errors, covered, 1e3 * spent)


def _report(method: str, trials: dict[tuple[str, str], list[Trial]]) -> None:
    """A line for each measure: the mean over the series, its bar, and every series beside the naive."""
    names = list(dict.fromkeys(name for name, _ in trials))
    for measure in ("MASE", *(f"pinball {level}" for level in LEVELS)):
        ours, naive = (
            {name: statistics.fmean(one.errors[measure] for one in trials[name, by]) for name in names}
            for by in (method, PEER)
        )
        mean, peer = statistics.fmean(ours.values()), statistics.fmean(naive.values())
        by_series = {name: {"ours": round(ours[name], 3), "peer": round(naive[name], 3)} for name in names}
        beside = {"peer": PEER, "peer_value": peer, "ratio": mean / peer}
        lost = [name for name in names if ours[name] > naive[name]]
        bar = at_most(mean / peer, 1.0, "of the peer's")
        emit(BENCH, ROW, f"{method}: mean {measure}", mean, "", **beside, **bar, lost=lost, series=by_series)
    mine = [one for name in names for one in trials[name, method]]
    spent = [one.milliseconds for one in mine]
    p99 = percentile(spent, 99)
    emit(BENCH, ROW, f"{method}: time", statistics.fmean(spent), "ms", **at_most(p99, LIMIT_MS, "ms at p99"), p99=p99)
    for level in map(str, LEVELS):
        share = statistics.fmean(one.covered[level] for one in mine)
        emit(BENCH, ROW, f"{method}: share of samples below the {level} quantile", share, "")
