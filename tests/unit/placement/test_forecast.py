"""Forecasts: known answers on series without chance, quantiles that cover what they say, and what is refused."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tephra.placement.forecast import METHODS, forecast, mase, pinball

PERIOD = 24
Series = NDArray[np.float64]


def days(count: int, swing: float = 10.0) -> Series:
    """A daily wave around 50."""
    return 50 + swing * np.sin(2 * np.pi * np.arange(count * PERIOD) / PERIOD)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("count", [2, 3, 15, 40])
def test_a_series_that_repeats_is_continued_exactly_and_without_spread(method: str, count: int) -> None:
    result = forecast(days(count), period=PERIOD, horizon=PERIOD, method=method)
    assert result.point == pytest.approx(days(1), abs=1e-6)
    assert result.quantiles[0.95] == pytest.approx(days(1), abs=1e-6)


@pytest.mark.parametrize("method", ["theta", "ensemble"])
def test_an_outlier_of_yesterday_moves_the_forecast_by_less_than_a_hundredth_of_it(method: str) -> None:
    history = days(30)
    history[-PERIOD + 3] += 500
    assert forecast(history, period=PERIOD, horizon=PERIOD, method=method).point == pytest.approx(days(1), abs=5)


def test_a_change_of_level_is_followed() -> None:
    history = np.concatenate([days(25), days(3) + 100])
    assert forecast(history, period=PERIOD, horizon=PERIOD).point == pytest.approx(days(1) + 100, abs=10)


def test_a_working_week_is_told_from_a_weekend() -> None:
    week = np.concatenate([*[days(1)] * 5, days(1, 0) - 40, days(1, 0) - 40])
    friday = np.tile(week, 6)[: -2 * PERIOD]
    assert forecast(friday, period=PERIOD, horizon=PERIOD).point == pytest.approx(np.full(PERIOD, 10), abs=1)


@pytest.mark.parametrize("method", METHODS)
def test_quantiles_cover_what_they_say(method: str) -> None:
    """100 days of noise around a wave, each forecast from the 29 before it."""
    noise = np.random.default_rng(1).normal(0, 5, (100, 30 * PERIOD))
    for level in (0.5, 0.9, 0.95):
        below = []
        for row in noise:
            series = days(30) + row
            result = forecast(series[:-PERIOD], period=PERIOD, horizon=PERIOD, levels=[level], method=method)
            below.append(float(np.mean(series[-PERIOD:] <= result.quantiles[level])))
        assert np.mean(below) == pytest.approx(level, abs=0.03)


def test_quantiles_are_wide_only_where_the_past_was() -> None:
    random = np.random.default_rng(2)
    history = days(40).reshape(-1, PERIOD)
    history[:, 12:18] += random.normal(0, 20, (40, 6))
    result = forecast(history.ravel(), period=PERIOD, horizon=PERIOD)
    spread = result.quantiles[0.95] - result.point
    assert spread[14:16].min() > 15
    assert spread[2:8].max() < 3


def test_the_horizon_may_be_shorter_than_a_day_and_the_history_no_whole_days() -> None:
    history = days(10)[: -PERIOD + 7]
    assert forecast(history, period=PERIOD, horizon=5).point == pytest.approx(days(1)[7:12], abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_another_unit_changes_nothing(method: str) -> None:
    history = days(30) + np.random.default_rng(3).normal(0, 5, 30 * PERIOD)
    one, other = (forecast(x, period=PERIOD, horizon=6, method=method) for x in (history, 1_000 * history + 7))
    assert other.point == pytest.approx(1_000 * one.point + 7)
    assert other.quantiles[0.9] == pytest.approx(1_000 * one.quantiles[0.9] + 7)


def test_measures_by_hand() -> None:
    assert mase([3, 5], [2, 2], [0, 0, 2, 2, 4, 4], period=2) == (1 + 3) / 2 / 2
    assert pinball([10, 10], [8, 14], 0.9) == pytest.approx((0.9 * 2 + 0.1 * 4) / 2)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"history": days(1)}, "at least two days, 48"),
        ({"history": days(4).reshape(4, -1)}, r"shape \(4, 24\)"),
        ({"history": np.where(np.arange(96) == 7, np.nan, 1.0)}, r"history\[7\] is not finite"),
        ({"horizon": 0}, "horizon is 0"),
        ({"horizon": 25}, "horizon is 25; it must be 1 to 24"),
        ({"period": 1}, "period is 1"),
        ({"levels": [1.0]}, "level is 1.0"),
        ({"method": "prophet"}, "method: prophet is not one of theta, ensemble"),
    ],
)
def test_bad_input_is_refused_by_name(changes: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        forecast(**{"history": days(4), "period": PERIOD, "horizon": PERIOD} | changes)  # type: ignore[arg-type]
