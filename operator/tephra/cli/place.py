"""Entry point of ``tephra-place``: the placement core on the command line; files in, a document out.

Documents are JSON or YAML with the fields of the dataclasses they become (:mod:`tephra.placement.model` and
:mod:`tephra.placement.energy.consolidate`). Scheduling and forecasts are :mod:`.place_schedule`, pictures :mod:`.plot`.
Exit codes: 0 done, 1 error, 2 usage, 3 refused.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from tephra.cli import place_schedule
from tephra.placement import Link, Placement, Policy, Refusal, Request, Residual, Topology, documents, generate
from tephra.placement.energy import consolidate
from tephra.placement.energy.consolidate import Guest, Host, Rules
from tephra.placement.graphs import lns
from tephra.placement.simulate import Arrival, Event, Kind, replay
from tephra.placement.solve import SOLVERS, solve
from tephra.placement.sources import cluster_nodes, topology_zoo

OK, ERROR, REFUSED = 0, 1, 3
T = TypeVar("T")


def main() -> int:
    """Run the verb asked for; returns the exit code."""
    options = _parser().parse_args()
    try:
        return options.run(options) or OK
    except (ValueError, OSError) as error:
        print(f"tephra-place: {error}", file=sys.stderr)
        return ERROR


def _solve(options: argparse.Namespace) -> int:
    topology, request = _topology(options), documents.decode(Request, _read(options.request))
    residual, _ = _in_force(topology, options.in_force)
    answer = solve(
        residual, request, _policy(options), solver=options.solver, seed=options.seed, budget_s=options.budget
    )
    if isinstance(answer, Refusal):
        _print(options, {"placed": False, "refusal": answer})
        return REFUSED
    if options.plot:
        from tephra.cli.plot import draw_map

        draw_map(topology, answer, options.plot)
    _print(options, {"placed": True, "gap": answer.gap, "placement": answer})
    return OK


def _simulate(options: argparse.Namespace) -> int:
    topology, policy, random = _topology(options), _policy(options), np.random.default_rng(options.seed)
    if options.arrivals:
        arrivals = [documents.decode(Arrival, item, f"arrivals[{n}]") for n, item in enumerate(_read(options.arrivals))]
    else:
        topology, requests = generate.offered(random, topology, options.chains, options.functions, options.load)
        life = random.exponential(options.life, len(requests)) if options.life else np.full(len(requests), np.inf)
        arrivals = [Arrival(float(at), request, at + life[at]) for at, request in enumerate(requests)]

    def place(residual: Residual, request: Request) -> object:
        return solve(
            residual, request, policy, solver=options.solver, seed=options.seed, budget_s=options.budget, explain=False
        )

    events = list(_progress(replay(Residual.of(topology), arrivals, place), len(arrivals)))
    answered = [event for event in events if event.kind is not Kind.DEPARTED]
    if options.plot:
        from tephra.cli.plot import draw_acceptance

        draw_acceptance([event.kind is Kind.ACCEPTED for event in answered], options.plot)
    _print(options, _summary(events, answered))
    return OK


def _summary(events: list[Event], answered: list[Event]) -> dict[str, object]:
    count = Counter(event.kind for event in events)
    spent = [event.answer.milliseconds for event in answered if isinstance(event.answer, Placement | Refusal)]
    median, late = np.percentile(spent, (50, 99)) if spent else (0.0, 0.0)
    return {
        **{str(kind): count[kind] for kind in Kind},
        "acceptance": count[Kind.ACCEPTED] / max(1, len(answered)),
        "milliseconds": {"p50": float(median), "p99": float(late)},
        "events": [{"at": event.at, "kind": event.kind, "request": event.request.name} for event in events],
    }


def _reoptimise(options: argparse.Namespace) -> int:
    residual, placements = _in_force(_topology(options), options.in_force)
    more = {"migrations": options.migrations, "rounds": options.rounds, "seed": options.seed}
    if options.admit:
        request = documents.decode(Request, _read(options.admit))
        batch = lns.admit(residual, placements, request, _policy(options), **more)
        if batch is None:
            _print(options, {"admitted": False})
            return REFUSED
    else:
        batch = lns.reoptimise(residual, placements, _policy(options), **more)
    figures = {name: getattr(batch, name) for name in ("before", "after", "rounds", "milliseconds")}
    names = ("request", "function", "from", "to")
    moved = [dict(zip(names, (*what, *ends), strict=True)) for what, ends in batch.moved.items()]
    _print(options, {**figures, "moved": moved, "placements": batch.placements})
    return OK


def _in_force(topology: Topology, paths: Iterable[Path]) -> tuple[Residual, list[Placement]]:
    """What earlier answers leave free, and their placements: one per file, or all of a batch."""
    residual, placements = Residual.of(topology), list[Placement]()
    for path in paths:
        answer = _read(path)
        for item in answer["placements"] if "placements" in answer else [answer["placement"]]:
            placements.append(documents.decode(Placement, item))
            residual = residual.commit(placements[-1])
    return residual, placements


def _consolidate(options: argparse.Namespace) -> int:
    fleet = _read(options.fleet)
    hosts = documents.decode(tuple[Host, ...], fleet.get("hosts"), "hosts")
    guests = documents.decode(tuple[Guest, ...], fleet.get("guests"), "guests")
    plan = consolidate.plan(hosts, guests, documents.decode(Rules, fleet.get("rules", {}), "rules"))
    _print(options, {**documents.encode(plan), "mib": plan.mib, "seconds": plan.seconds})
    return OK


# files


def _read(path: Path) -> Any:
    """A JSON or YAML file (JSON is YAML); "-" is stdin."""
    text = sys.stdin.read() if str(path) == "-" else path.read_text()
    try:
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: neither JSON nor YAML: {error}") from None


def _topology(options: argparse.Namespace) -> Topology:
    """GraphML, Kubernetes Nodes with links, or a topology of ours; servers added where that is asked."""
    path = options.topology
    if path.suffix == ".graphml":
        found = topology_zoo.parse(path.read_text())
    else:
        document = _read(path)
        if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
            links = documents.decode(tuple[Link, ...], _read(options.links) if options.links else [], "links")
            found = cluster_nodes.topology(document.get("items", []), links)
        else:
            found = documents.decode(Topology, document)
    if options.data_centres:
        return generate.with_data_centres(np.random.default_rng(options.seed), found, options.data_centres)
    return found


def _print(options: argparse.Namespace, answer: object) -> None:
    document = documents.encode(answer)
    if options.output == "yaml":
        yaml.safe_dump(document, sys.stdout, sort_keys=False, allow_unicode=True)
    else:
        print(json.dumps(document, indent=2, ensure_ascii=False))


def _policy(options: argparse.Namespace) -> Policy:
    return documents.decode(Policy, _read(options.policy)) if options.policy else Policy()


def _progress(events: Iterable[T], total: int) -> Iterator[T]:
    """The same, with a bar on stderr when a person watches."""
    for number, event in enumerate(events, start=1):
        if sys.stderr.isatty():
            share = min(1.0, number / max(1, total))
            print(f"\r[{'#' * int(30 * share):30}] {share:4.0%}", end="", file=sys.stderr, flush=True)
        yield event
    if sys.stderr.isatty():
        print(file=sys.stderr)


# arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tephra-place",
        description="Where functions run, which way their traffic goes, when they run, and which servers may sleep.",
        epilog="Exit codes: 0 done, 1 error, 2 usage, 3 refused.",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for run, name, text, arguments in VERBS:
        verb = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}; prints JSON or YAML.")
        verb.set_defaults(run=run)
        verb.add_argument("--output", choices=("json", "yaml"), default="json", help="default: json")
        arguments(verb)
    place_schedule.add(verbs)
    return parser


def _solve_arguments(verb: argparse.ArgumentParser) -> None:
    _topology_arguments(verb)
    verb.add_argument("request", type=Path, help="a request")
    verb.add_argument("--in-force", type=Path, action="append", default=[], metavar="FILE", help="an earlier answer")
    _solver_arguments(verb, 0.2)
    verb.add_argument("--plot", type=Path, metavar="FILE", help="draw the map with the placement")


def _simulate_arguments(verb: argparse.ArgumentParser) -> None:
    _topology_arguments(verb)
    verb.add_argument("--arrivals", type=Path, metavar="FILE", help="{at, until, request} each; else random chains")
    verb.add_argument("--chains", type=_positive, default=100, metavar="N", help="how many; default: 100")
    verb.add_argument("--functions", type=_positive, default=6, metavar="N", help="of each; default: 6")
    verb.add_argument("--load", type=float, default=0.9, help="share of all servers that they ask for; default: 0.9")
    verb.add_argument("--life", type=float, metavar="TIME", help="mean, in arrivals; default: they stay")
    _solver_arguments(verb, 0.0)
    verb.add_argument("--plot", type=Path, metavar="FILE", help="draw the acceptance curve")


def _reoptimise_arguments(verb: argparse.ArgumentParser) -> None:
    _topology_arguments(verb)
    verb.add_argument("--in-force", type=Path, action="append", required=True, metavar="FILE", help="an earlier answer")
    verb.add_argument(
        "--migrations", type=int, required=True, metavar="N", help="functions that may move to other nodes"
    )
    verb.add_argument(
        "--admit", type=Path, metavar="FILE", help="a request that finds no room: let it in by these moves"
    )
    verb.add_argument("--rounds", type=_positive, default=20, metavar="N", help="neighbourhoods tried; default: 20")
    verb.add_argument("--seed", type=int, default=0, help="of the neighbourhoods; default: 0")


def _consolidate_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("fleet", type=Path, help="hosts, guests and rules")


def _topology_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("topology", type=Path, help="GraphML, a topology, or `kubectl get nodes -o json`")
    verb.add_argument("--links", type=Path, metavar="FILE", help="links between the sites of the cluster's Nodes")
    verb.add_argument("--data-centres", type=_positive, metavar="N", help="put servers at N random sites")
    verb.add_argument("--policy", type=Path, metavar="FILE", help="dials and headroom; default: latency only")


def _solver_arguments(verb: argparse.ArgumentParser, budget: float) -> None:
    verb.add_argument("--solver", choices=tuple(SOLVERS), default="auto", help="default: auto, by the request's shape")
    verb.add_argument("--seed", type=int, default=0, help="of all that is random; default: 0")
    verb.add_argument("--budget", type=float, default=budget, metavar="SECONDS", help=f"of CP-SAT; default: {budget:g}")


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


VERBS: tuple[tuple[Callable[[argparse.Namespace], int], str, str, Callable[[argparse.ArgumentParser], None]], ...] = (
    (_solve, "solve", "place one request", _solve_arguments),
    (_simulate, "simulate", "replay arrivals and departures", _simulate_arguments),
    (_reoptimise, "reoptimise", "improve placements in force within a migration budget", _reoptimise_arguments),
    (_consolidate, "consolidate", "plan moves that let nodes sleep", _consolidate_arguments),
)

if __name__ == "__main__":
    sys.exit(main())
