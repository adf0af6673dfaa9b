"""Row 3: 100 chains of 6, 20, 60 functions in sequence at 90 % offered load; who is accepted, and how far they run.

The same arrivals for nearest-fit, segment A* without prices, and segment A* with bid prices; each accepted placement
goes through the independent checker, which knows the delay classes. The clairvoyant bound is a linear program that
knows all arrivals and splits functions at will, so nobody accepts more. Last, the latency/acceptance dial as a curve.
"""

import statistics
from collections.abc import Callable, Iterable
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from bench.placement import nearest_fit, subscriptions
from bench.report import emit, percentile, progress
from tephra.placement import Placement, Policy, Refusal, Request, Residual, Topology, check
from tephra.placement.chains import chain
from tephra.placement.network import anchor_delay
from tephra.placement.simulate import Arrival, replay

POOLED, EACH, MORE = 97, 95, 6
PRICED = Policy(acceptance=10_000)
DIAL = (0, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
Place = Callable[[Residual, Request, Policy], Placement | Refusal | chain.Unplaced]


class Day(NamedTuple):
    """What became of one sequence: requests accepted, mean delay of their paths in µs, times in ms, violations."""

    accepted: int
    delay_us: float
    milliseconds: list[float]
    violations: int


def run(quick: bool) -> None:
    """Print acceptance by policy and length, the bars, and the dial."""
    seeds = list(subscriptions.ACCEPTANCE_SEEDS)[: 2 if quick else None]
    days = {length: {seed: subscriptions.day(seed, length) for seed in seeds} for length in subscriptions.LENGTHS}
    policies: dict[str, tuple[Place, Policy]] = {
        "nearest-fit": (nearest_fit.place, Policy()),
        "segment A*": (chain.place, Policy()),
        "segment A*, bid prices": (chain.place, PRICED),
    }
    found = {
        (name, length): [_day(*day, *how, f"{name}, {length}") for day in days[length].values()]
        for (name, how), length in product(policies.items(), days)
    }
    for (name, length), results in found.items():
        _report(f"{length} functions: {name}", results)
    for length, by_seed in days.items():
        most = [clairvoyant(*day) for day in by_seed.values()]
        emit("placement", 3, f"{length} functions: clairvoyant bound", statistics.mean(most), "of 100", each=most)
    _bars(found)
    _curve(days, quick)


def _day(topology: Topology, requests: Iterable[Request], place: Place, policy: Policy, name: str) -> Day:
    progress(f"100 chains: {name} functions")
    delays, times, violations, before = list[float](), list[float](), 0, Residual.of(topology)
    arrivals = [Arrival(float(number), request) for number, request in enumerate(requests)]
    for event in replay(before, arrivals, lambda residual, request: place(residual, request, policy)):
        if isinstance(event.answer, Placement):
            violations += bool(check.violations(before, event.request, policy, event.answer))
            delays.append(check.objective(before, Policy(), event.answer))
        if isinstance(event.answer, Placement | Refusal | chain.Unplaced):
            times.append(event.answer.milliseconds)
        before = event.residual
    return Day(len(delays), statistics.mean(delays), times, violations)


def _report(what: str, results: list[Day]) -> None:
    accepted = [day.accepted for day in results]
    emit(
        "placement",
        3,
        f"{what}, accepted",
        statistics.mean(accepted),
        "of 100",
        each=accepted,
        delay_us=statistics.mean(day.delay_us for day in results),
        p50_ms=percentile([spent for day in results for spent in day.milliseconds], 50),
        p99_ms=percentile([spent for day in results for spent in day.milliseconds], 99),
    )


def _bars(found: dict[tuple[str, int], list[Day]]) -> None:
    def mean(name: str, *lengths: int) -> float:
        return statistics.mean(day.accepted for length in lengths for day in found[name, length])

    ours, base = "segment A*, bid prices", "nearest-fit"
    pooled, peer = mean(ours, *subscriptions.LENGTHS), mean(base, *subscriptions.LENGTHS)
    least = min(mean(ours, length) for length in subscriptions.LENGTHS)
    more = pooled - peer
    wrong = sum(day.violations for days in found.values() for day in days)
    emit("placement", 3, "accepted, pooled", pooled, "of 100", bar=f">= {POOLED}", holds=pooled >= POOLED)
    emit("placement", 3, "accepted, worst length", least, "of 100", bar=f">= {EACH}", holds=least >= EACH)
    emit("placement", 3, "more than nearest-fit", more, "of 100", peer=peer, bar=f">= {MORE}", holds=more >= MORE)
    emit("placement", 3, "placements with a violation", wrong, "placements", bar="0", holds=wrong == 0)


def _curve(days: dict[int, dict[int, tuple[Topology, tuple[Request, ...]]]], quick: bool) -> None:
    """Acceptance against delay for every price, over the first seeds of every length."""
    for price in DIAL:
        policy = Policy(acceptance=price)
        chosen = [(length, day) for length, days_ in days.items() for day in list(days_.values())[: 1 if quick else 3]]
        results = [_day(*day, chain.place, policy, f"dial {price}, {length}") for length, day in chosen]
        accepted, delay = (statistics.mean(values) for values in zip(*(day[:2] for day in results), strict=True))
        emit("placement", 3, f"dial: acceptance {price}, accepted", accepted, "of 100", delay_us=delay)


def clairvoyant(topology: Topology, requests: tuple[Request, ...]) -> float:
    """How many of the requests can be accepted at most, functions split at will, capacity per site.

    Variables: the share accepted of every request, and of its functions of one class the share at every site within it.
    """
    hosts, at = np.unique(topology.node_site, return_inverse=True)
    room = np.zeros((len(hosts), 2))
    np.add.at(room, at, topology.node_capacity)
    used, split = list[tuple[int, int, float]](), list[tuple[int, int, float]]()
    columns, rows = len(requests), 0
    for number, request in enumerate(requests):
        delay = anchor_delay(topology, topology.site_index[request.endpoints[0].site])[hosts]
        for bound in dict.fromkeys(function.max_delay_us for function in request.functions):
            kind = [function for function in request.functions if function.max_delay_us == bound]
            demand = sum(function.cpu_m for function in kind), sum(function.memory_mib for function in kind)
            split.append((rows, number, -1.0))
            for host in np.flatnonzero(delay <= (np.inf if bound is None else bound)).tolist():
                split.append((rows, columns, 1.0))
                used += [(2 * host + resource, columns, float(demand[resource])) for resource in range(2)]
                columns += 1
            rows += 1
    gain = np.zeros(columns)
    gain[: len(requests)] = -1
    value = linprog(
        gain,
        A_ub=_matrix(used, room.size, columns),
        b_ub=room.ravel(),
        A_eq=_matrix(split, rows, columns),
        b_eq=np.zeros(rows),
        bounds=(0, 1),
    ).fun
    assert value is not None, "accepting nobody is feasible"
    return float(np.floor(1e-6 - value))


def _matrix(entries: list[tuple[int, int, float]], rows: int, columns: int) -> NDArray[np.float64]:
    matrix = np.zeros((rows, columns))
    for row, column, value in entries:
        matrix[row, column] = value
    return matrix
