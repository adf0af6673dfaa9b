"""Figures without a display, for the pictures of `tephra-place` (:mod:`.plot`, :mod:`.plot_schedule`).

Needs the extra `plots` (matplotlib); writes what the name of the file says (PNG, SVG, PDF).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#222255")


def canvas(width: float, height: float, columns: int = 0) -> Any:
    """A figure and its axes: one, or a list of `columns`. Sizes in inches."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise SystemExit("pictures need matplotlib: pip install 'tephra[plots]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    if not columns:
        return figure, figure.subplots()
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def save(figure: "Figure", path: Path) -> None:
    """Write the figure; the suffix of `path` is the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140)
