"""Pictures of function scheduling: the Gantt chart of a schedule, and curves over |B| as Fed4IoT D3.2 draws them.

Neighbours: `tephra.placement.schedule` (what is drawn). Needs the extra `plots` (matplotlib); writes what the name of
the file says (PNG, SVG, PDF).
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tephra.cli.canvas import COLOURS, canvas, save
from tephra.placement.schedule.model import Workflow
from tephra.placement.schedule.result import Schedule

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vPX*"
REPOSITORY = "repository"


def gantt(workflow: Workflow, schedule: Schedule, path: Path) -> None:
    """A line for each vCPU used and one for the repository; a colour for each type, hatched while its image travels."""
    kinds = list(dict.fromkeys(task.type for task in workflow.tasks))
    colour = dict(zip(kinds, cycle(COLOURS), strict=False))
    kind = {task.name: task.type for task in workflow.tasks}
    lines = [*([REPOSITORY] if schedule.fetches else []), *sorted({run.vcpu for run in schedule.runs})]
    figure, axes = canvas(width=10, height=1.2 + 0.35 * len(lines))
    for fetch in schedule.fetches:
        style = {"hatch": "////", "edgecolor": "white"}
        _bar(axes, lines.index(REPOSITORY), fetch.start_us, fetch.end_us, fetch.vm, color=colour[fetch.image], **style)
    for run in schedule.runs:
        _bar(axes, lines.index(run.vcpu), run.start_us, run.end_us, run.task, color=colour[kind[run.task]])
    axes.set_yticks(range(len(lines)), lines)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(
        f"{schedule.solver}: {schedule.makespan_us / 1e6:.2f} s, bound {schedule.lower_bound_us / 1e6:.2f} s"
    )
    save(figure, path)


def curves(
    title: str, partitions: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[float]]], path: Path
) -> None:
    """Panels side by side: each a label of its y axis, and by scheduler a value for each number of partitions."""
    figure, all_axes = canvas(width=5.5 * len(panels), height=4.2, columns=len(panels))
    for axes, (label, series) in zip(all_axes, panels.items(), strict=True):
        for (name, values), colour, marker in zip(series.items(), cycle(COLOURS), cycle(MARKERS), strict=False):
            axes.plot(partitions, values, marker=marker, color=colour, label=name)
        axes.set_xticks(list(partitions))
        axes.set_xlabel("|B|")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    all_axes[0].legend(fontsize=8)
    figure.suptitle(title)
    save(figure, path)


def _bar(axes: "Axes", line: int, start_us: int, end_us: int, text: str, **style: Any) -> None:
    start, width = start_us / 1e6, (end_us - start_us) / 1e6
    axes.barh(line, width, left=start, height=0.8, **style)
    axes.text(start + width / 2, line, text, ha="center", va="center", fontsize=6, clip_on=True)
