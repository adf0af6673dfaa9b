"""How every benchmark prints: one JSON object per line on stdout, progress on stderr.

A row carries at least ``bench, row, what, value, unit, bar, holds``; with a peer also ``peer`` and ``ratio``; and the
load and CPU model of the machine, so that a figure is never read without them. ``holds`` is None where there is no bar.
"""

import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def emit(bench: str, row: int, what: str, value: float, unit: str, **more: Any) -> None:
    """Print one row. `bar` is a sentence such as "<= 0.7"; `holds` whether the value keeps it."""
    fields = {
        "bench": bench,
        "row": row,
        "what": what,
        "value": _short(value),
        "unit": unit,
        "bar": None,
        "holds": None,
    }
    machine = {"load": round(os.getloadavg()[0], 2), "cpu": cpu_model()}
    print(
        json.dumps(fields | {key: _short(item) for key, item in more.items()} | machine, ensure_ascii=False), flush=True
    )


def at_most(value: float, limit: float, unit: str = "") -> dict[str, Any]:
    """`bar` and `holds` of a figure that must not exceed `limit`."""
    return {"bar": f"<= {limit:g}{' ' + unit if unit else ''}", "holds": value <= limit}


def progress(text: str) -> None:
    """A line for the person who waits."""
    print(f"# {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile; `percent` in 0..100."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(percent / 100 * len(ordered)) - 1))]


def noise(values: Sequence[float]) -> float:
    """Half the interquartile range over the median: how far equal runs differ on this machine now."""
    if len(values) < 4:
        return (max(values) - min(values)) / 2 / statistics.median(values)
    low, middle, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / middle


def cpu_model() -> str:
    """The processor as /proc/cpuinfo names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
