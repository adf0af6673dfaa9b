"""Row 9: bad input. What cannot be meant is a ValueError that names the field; what can be meant but not met is a
Refusal that names what stopped it; a placement is never wrong, by the checker that shares no code with the solvers.

The catalogue is :mod:`.bad_cases`; :data:`DAMAGES` break random sound problems (:func:`generate.instance`) in ways that
leave them well-formed, and every solver is asked about every one.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bench.placement.bad_cases import IMPOSSIBLE, MALFORMED, Case
from bench.report import at_most, emit, progress
from tephra.placement import Function, Placement, Policy, Refusal, Request, Residual, Topology, check, generate
from tephra.placement.chains import chain
from tephra.placement.solve import SOLVERS, solve

SEEDS, QUICK_SEEDS = 40, 4
BUDGET_S = 1.0
Problem = tuple[Residual, Request, Policy]


def run(quick: bool) -> None:
    """The catalogue, then damaged problems."""
    _catalogue("malformed input answered by a ValueError that names the field", MALFORMED, refused_with_value_error)
    _catalogue("impossible requests answered by a Refusal that names the cause", IMPOSSIBLE, refused_with_cause)
    answers: Counter[str] = Counter()
    for seed in range(QUICK_SEEDS if quick else SEEDS):
        progress(f"damaged problems: {dict(answers) or 'none yet'}")
        sound = generate.instance(np.random.default_rng(seed))
        for damage in DAMAGES:
            answers.update(_ask_all(damage(*sound)))
    for what in ("wrong", "raised"):
        count = answers[what]
        emit("placement", 9, f"damaged problems, answers {what}", count, "answers", **at_most(count, 0))
    emit("placement", 9, "damaged problems, refused", answers["refused"], "answers")
    emit("placement", 9, "damaged problems, placed and right", answers["right"], "answers")


def refused_with_value_error(case: Case) -> str:
    """What is wrong with the answer to a case; empty when it is a ValueError with its words."""
    try:
        answer = case.make()
    except ValueError as error:
        return _lacking(case, str(error))
    return f"{case.what}: no ValueError but {answer}"


def refused_with_cause(case: Case) -> str:
    """What is wrong with the answer to a case; empty when it is a Refusal with its words and fields."""
    answer = case.make()
    if not isinstance(answer, Refusal):
        return f"{case.what}: no Refusal but {answer}"
    return _lacking(case, f"{answer.reason} {answer.resource} {answer.compute_class} {answer.link}")


def _lacking(case: Case, text: str) -> str:
    missing = [word for word in case.names if word not in text]
    return f"{case.what}: {text!r} lacks {missing}" if missing else ""


def _catalogue(what: str, cases: tuple[Case, ...], judged: Callable[[Case], str]) -> None:
    wrong = [text for text in map(judged, cases) if text]
    for text in wrong:
        progress(text)
    good = len(cases) - len(wrong)
    emit("placement", 9, what, good, "cases", bar=f"all {len(cases)}", holds=not wrong)


def _ask_all(problem: Problem) -> list[str]:
    """How each solver that knows the request answers: wrong, right, refused or raised."""
    return [_ask(solver, problem) for solver in SOLVERS if solver != "segment-a*" or chain.suits(problem[1])]


def _ask(solver: str, problem: Problem) -> str:
    residual, request, policy = problem
    try:
        answer = solve(residual, request, policy, solver=solver, budget_s=BUDGET_S, explain=False)
    except Exception as error:  # whatever it is, it is counted and shown
        progress(f"{solver} raised {error!r}")
        return "raised"
    if not isinstance(answer, Placement):
        return "refused"
    wrong = check.violations(residual, request, policy, answer)
    if wrong:
        progress(f"{solver} was wrong: {wrong}")
    return "wrong" if wrong else "right"


# damages


def _on(topology: Topology, residual: Residual) -> Residual:
    """A damaged topology with the shares of the old residual free."""
    share = residual.node_free / np.maximum(residual.topology.node_capacity, 1)
    whole = Residual.of(topology)
    return replace(whole, node_free=np.floor(share * topology.node_capacity).astype(np.int64))


def _anchor_cut_off(residual: Residual, request: Request, policy: Policy) -> Problem:
    site, topology = request.endpoints[0].site, residual.topology
    links = tuple(link for link in topology.links if site not in (link.a, link.b))
    return _on(Topology(topology.sites, links), residual), request, policy


def _half_the_links(residual: Residual, request: Request, policy: Policy) -> Problem:
    topology = residual.topology
    return _on(Topology(topology.sites, topology.links[::2]), residual), request, policy


def _links_down(residual: Residual, request: Request, policy: Policy) -> Problem:
    links = tuple(replace(link, bandwidth_kbps=0) for link in residual.topology.links)
    return _on(Topology(residual.topology.sites, links), residual), request, policy


def _links_thin(residual: Residual, request: Request, policy: Policy) -> Problem:
    thin = max(channel.bandwidth_kbps for channel in request.channels)
    links = tuple(replace(link, bandwidth_kbps=thin) for link in residual.topology.links)
    return _on(Topology(residual.topology.sites, links), residual), request, policy


def _links_without_delay(residual: Residual, request: Request, policy: Policy) -> Problem:
    links = tuple(replace(link, delay_us=0) for link in residual.topology.links)
    return _on(Topology(residual.topology.sites, links), residual), request, policy


def _no_capacity(residual: Residual, request: Request, policy: Policy) -> Problem:
    sites = tuple(
        replace(site, nodes=tuple(replace(node, cpu_m=0, memory_mib=0) for node in site.nodes))
        for site in residual.topology.sites
    )
    return _on(Topology(sites, residual.topology.links), residual), request, policy


def _one_node_left(residual: Residual, request: Request, policy: Policy) -> Problem:
    one = residual.topology.nodes[0]
    sites = tuple(replace(site, nodes=tuple(n for n in site.nodes if n is one)) for site in residual.topology.sites)
    return Residual.of(Topology(sites, residual.topology.links)), request, policy


def _last(request: Request, change: Callable[[Function], Function]) -> Request:
    return replace(request, functions=(*request.functions[:-1], change(request.functions[-1])))


def _giant(residual: Residual, request: Request, policy: Policy) -> Problem:
    return residual, _last(request, lambda f: replace(f, cpu_m=10**6)), policy


def _glutton(residual: Residual, request: Request, policy: Policy) -> Problem:
    return residual, _last(request, lambda f: replace(f, memory_mib=10**7)), policy


def _stranger(residual: Residual, request: Request, policy: Policy) -> Problem:
    return residual, _last(request, lambda f: replace(f, compute_class="sgx")), policy


def _at_once(residual: Residual, request: Request, policy: Policy) -> Problem:
    return residual, _last(request, lambda f: replace(f, max_delay_us=0)), policy


def _torrent(residual: Residual, request: Request, policy: Policy) -> Problem:
    channels = tuple(replace(channel, bandwidth_kbps=10**9) for channel in request.channels)
    return residual, replace(request, channels=channels), policy


def _weightless(residual: Residual, request: Request, policy: Policy) -> Problem:
    functions = tuple(replace(function, cpu_m=0, memory_mib=0) for function in request.functions)
    channels = tuple(replace(channel, bandwidth_kbps=0) for channel in request.channels)
    return residual, replace(request, functions=functions, channels=channels), policy


def _no_headroom_left(residual: Residual, request: Request, policy: Policy) -> Problem:
    return residual, request, replace(policy, headroom=1.0)


def _no_dial(residual: Residual, request: Request, policy: Policy) -> Problem:
    return residual, request, Policy(latency=0.0)


def _absurd_dial(residual: Residual, request: Request, policy: Policy) -> Problem:
    return residual, request, replace(policy, acceptance=1e9, price_base=1e6)


DAMAGES: tuple[Callable[[Residual, Request, Policy], Problem], ...] = (
    _anchor_cut_off,
    _half_the_links,
    _links_down,
    _links_thin,
    _links_without_delay,
    _no_capacity,
    _one_node_left,
    _giant,
    _glutton,
    _stranger,
    _at_once,
    _torrent,
    _weightless,
    _no_headroom_left,
    _no_dial,
    _absurd_dial,
)
