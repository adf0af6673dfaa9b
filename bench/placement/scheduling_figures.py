"""Redraws figures 33, 34 and 35 of Fed4IoT D3.2 from row 5, and the Gantt charts of one instance, in build/figures.

What differs from the printed ones, and why. There, six schedulers ran on a testbed through the SFlow engine, one
workflow each; here they run on a model of it, 30 draws of loads, speeds and file sizes each, and every schedule is
checked. The printed text does not say whether the per-core cap of the public samples was on; both are drawn.

With the cap on, sharing (33) is as printed: it grows with |B| and SF-CUV shares most of the six. Cold (34a), HEFT,
PEFT, COM and CAP are later than SF-CUV as printed, by up to 80 %, until at |B| >= 16 every VM fetches almost every
image and the one repository decides for all; CUV-FIX is within 6 % of SF-CUV where the paper has it behind. Efficiency
(34b) is as printed. Warm (35a), HEFT and PEFT are earlier than SF-CUV, which the paper has first: SF-CUV keeps
functions together to save instances, and nothing is gained by that once the images are there. Its efficiency (35b) is
first up to |B| = 8.

With the cap off, COM, which then never leaves its VM and so fetches six images only, is well ahead of the other five
when cold and shares most, and warm a correct HEFT is ahead of SF-CUV. The main program of ncl_sfcsim runs HEFT on an
environment that a random baseline has filled, and its PEFT stores finish plus table as the finish time; that, and files
and images that take other times on a testbed, may explain the rest. Nothing was tuned to the print.
"""

from collections.abc import Mapping
from pathlib import Path

from bench.placement.workflow_instances import platform, workflow
from bench.report import progress
from tephra.cli.plot_schedule import curves, gantt
from tephra.placement.schedule.solve import schedule

Averages = dict[str, dict[str, float]]
Point = tuple[bool, bool, int]  # warm, capped, |B|

DIRECTORY = Path(__file__).parents[2] / "build" / "figures"
DRAWN = {
    "sf-cuv": "SF-CUV",
    "cuv-fix": "CUV-FIX",
    "heft": "HEFT",
    "peft": "PEFT",
    "cap": "CAP-based",
    "com": "COM-based",
    "aware": "ours",
}
SHARING = {"sharing": "functions per instance (type on a vCPU)", "vm_sharing": "functions per instance (type on a VM)"}
NORMALISED = {
    "normalised_time": "(a) response time over SF-CUV's",
    "normalised_efficiency": "(b) efficiency over SF-CUV's",
}


def draw(averages: Mapping[Point, Averages]) -> None:
    """All figures from the averages of row 5."""
    for capped in (False, True):
        state = f"cap {'on' if capped else 'off'}"
        _figure(averages, False, capped, f"33: sharing, {state}", SHARING)
        _figure(averages, False, capped, f"34: no image pre-deployed, {state}", NORMALISED)
        _figure(averages, True, capped, f"35: images pre-deployed, {state}", NORMALISED)
    flow, place = workflow(5, 0), platform(0, warm=False, capped=False)
    for solver in ("sf-cuv", "aware"):
        gantt(flow, schedule(flow, place, solver=solver), DIRECTORY / f"gantt-{solver}.png")
    progress(f"figures are in {DIRECTORY}")


def _figure(
    averages: Mapping[Point, Averages], warm: bool, capped: bool, title: str, panels: Mapping[str, str]
) -> None:
    at = {partitions: found for (w, c, partitions), found in averages.items() if (w, c) == (warm, capped)}
    drawn = {
        label: {name: [found[figure][key] for found in at.values()] for key, name in DRAWN.items()}
        for figure, label in panels.items()
    }
    file = DIRECTORY / f"figure-{title.split(':', maxsplit=1)[0]}-cap-{'on' if capped else 'off'}.png"
    curves(f"Figure {title}", list(at), drawn, file)
