"""`tephra-place schedule` and `tephra-place forecast`: files in, JSON out. Neighbours: `place` (the other commands).

Each has `add(commands)`, which gives the sub-command its arguments and, as ``run``, the function that is called with
them. Bad input ends in one line on stderr that names the file, the field and what is expected.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from tephra.placement.forecast import LEVELS, METHODS, forecast
from tephra.placement.schedule.document import document_of, platform_of
from tephra.placement.schedule.solve import SOLVERS, schedule
from tephra.placement.schedule.wfformat import load

Result = TypeVar("Result")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Both sub-commands."""
    _add_schedule(commands.add_parser("schedule", help="when and where the functions of a workflow run"))
    _add_forecast(commands.add_parser("forecast", help="the next day of a load, with upper quantiles"))


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    parser.description = "Schedules the functions of a workflow on virtual CPUs; prints the schedule as JSON."
    parser.add_argument("workflow", type=Path, help="WfFormat 1.5 (JSON)")
    parser.add_argument("platform", type=Path, help="VMs, networks and images (JSON or YAML)")
    parser.add_argument("--solver", choices=SOLVERS, default="aware", help="default: %(default)s")
    parser.add_argument("--limit", type=int, help="vCPUs to use at most (aware and exact)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long exact may search; default: %(default)s")
    parser.add_argument("--mips", type=int, default=1_000, help="speed of the recorded runs; default: %(default)s")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the Gantt chart (PNG, SVG, PDF)")
    parser.set_defaults(run=_schedule)


def _schedule(options: argparse.Namespace) -> None:
    workflow = _from(options.workflow, lambda document: load(document, mips=options.mips))
    platform = _from(options.platform, platform_of)
    chosen = {name: getattr(options, name) for name in ("solver", "limit", "seed", "seconds")}
    try:
        result = schedule(workflow, platform, **chosen)
    except ValueError as error:
        raise SystemExit(f"{options.workflow} on {options.platform}: {error}") from None
    print(json.dumps(document_of(result), indent=2))
    if options.plot:
        from tephra.cli.plot_schedule import gantt

        gantt(workflow, result, options.plot)


def _add_forecast(parser: argparse.ArgumentParser) -> None:
    parser.description = "Forecasts a load by its past; prints point and quantiles as JSON."
    parser.add_argument("history", type=Path, help="samples, oldest first: one number a line, or a JSON list")
    parser.add_argument("--period", type=int, required=True, help="samples a day")
    parser.add_argument("--horizon", type=int, help="samples ahead; default: a day")
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS, help="default: %(default)s")
    parser.add_argument("--method", choices=METHODS, default="theta", help="default: %(default)s")
    parser.set_defaults(run=_forecast)


def _forecast(options: argparse.Namespace) -> None:
    result = _from(
        options.history,
        lambda samples: forecast(
            samples if isinstance(samples, list) else str(samples).split(),
            period=options.period,
            horizon=options.horizon or options.period,
            levels=options.levels,
            method=options.method,
        ),
    )
    quantiles = {str(level): values.tolist() for level, values in result.quantiles.items()}
    print(json.dumps({"point": result.point.tolist(), "quantiles": quantiles}, indent=2))


def _from(path: Path, read: Callable[[Any], Result]) -> Result:
    """What `read` makes of the document in the file; errors name the file."""
    try:
        text = path.read_text()
        return read(json.loads(text) if path.suffix == ".json" else yaml.safe_load(text))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SystemExit(f"{path}: {error}") from None
