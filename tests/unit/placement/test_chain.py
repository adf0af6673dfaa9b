"""Segment A* against enumeration of every assignment, and on networks small enough to know the answer."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest

from tephra.placement import (
    Affinity,
    Capacity,
    Channel,
    Endpoint,
    Function,
    Image,
    Isolation,
    Layer,
    Link,
    Node,
    Placement,
    Policy,
    PowerCurve,
    Request,
    Residual,
    Scope,
    Shape,
    Site,
    Topology,
    check,
    generate,
    objective,
)
from tephra.placement.chains import chain
from tephra.placement.network import routes
from tephra.placement.residual import may_share

IMAGE = Image("detector", (Layer("sha256:1", 40), Layer("sha256:2", 5)))
POLICIES = (
    Policy(),
    Policy(opening=20),
    Policy(acceptance=1000, opening=5),
    Policy(acceptance=1000, traffic=0.001),
    Policy(watts=3, pull=2, disruption=0.1),
    Policy(latency=0, acceptance=100),
)


def line(*sites: Site, delay_us: int = 1000, kbps: int = 1_000_000, capacity: Capacity = Capacity.SHARED) -> Topology:
    """Sites in a row, joined by equal links."""
    return Topology(sites, tuple(Link(one.name, two.name, delay_us, kbps, capacity) for one, two in pairwise(sites)))


def walk(*functions: Function, kbps: int = 10, tail: str = "", anchor: str = "a") -> Request:
    """A chain from a user at site `anchor`, through the functions, to an endpoint at site `tail` if it is given."""
    names = ["user", *(function.name for function in functions), *(["peer"] if tail else [])]
    endpoints = (Endpoint("user", anchor), *((Endpoint("peer", tail),) if tail else ()))
    channels = tuple(Channel(one, two, kbps) for one, two in pairwise(names))
    return Request("r", Shape.CHAIN, functions, channels, endpoints, "user")


def placed(residual: Residual, request: Request, policy: Policy | None = None) -> Placement:
    """The placement by segment A*, checked."""
    policy = policy or Policy()
    answer = chain.place(residual, request, policy)
    assert isinstance(answer, Placement), answer
    return check.require(residual, request, policy, answer)


def enumerated(residual: Residual, request: Request, policy: Policy) -> float:
    """The least objective over every assignment with cheapest paths, where links are wide; inf when none is right."""
    topology = residual.topology
    nodes = [node.name for node in topology.nodes]
    at = {endpoint.name: topology.site_index[endpoint.site] for endpoint in request.endpoints}
    cost = objective.terms(residual, request, policy)
    ways = {channel: routes(topology, cost.delay + channel.bandwidth_kbps * cost.kbps) for channel in request.channels}
    best = np.inf
    for chosen in product(nodes, repeat=len(request.functions)):
        assignment = dict(zip((function.name for function in request.functions), chosen, strict=True))
        site = at | {name: topology.site_index[topology.site_of(node)] for name, node in assignment.items()}
        paths = {}
        for channel in request.channels:
            path = ways[channel].path(site[channel.source], site[channel.target])
            stops = [site[channel.source], *topology.arc_target[path].tolist()]
            paths[channel.source, channel.target] = tuple(topology.sites[stop].name for stop in stops)
        value = objective.total(residual, request, policy, assignment, paths)
        answer = Placement(request, assignment, paths, value, 0.0, "enumeration", 0.0)
        if value < best and not check.violations(residual, request, policy, answer):
            best = value
    return best


def small(seed: int) -> tuple[Residual, Request]:
    """Three to five functions on five sites with five nodes, partly full; some asleep, some with images."""
    rng = np.random.default_rng(seed)
    topology = generate.waxman(rng, 5)
    sites = list[Site]()
    for site in topology.sites:
        nodes = tuple(
            Node(
                f"{site.name}/{number}",
                int(rng.integers(2, 9)) * 1000,
                int(rng.integers(4, 17)) * 1024,
                power=PowerCurve(((0.0, float(rng.integers(50, 150))), (1.0, 200.0))),
                awake=bool(rng.random() < 0.7),
                layers=frozenset({"sha256:1"} if rng.random() < 0.5 else ()),
            )
            for number in range(int(rng.integers(0, 3)) if sites else 2)
        )
        sites.append(replace(site, nodes=nodes[: 5 - sum(map(len, (other.nodes for other in sites)))]))
    topology = Topology(tuple(sites), topology.links)
    request = generate.chain(rng, "chain", topology, int(rng.integers(2, 5)))
    functions = tuple(replace(function, image=IMAGE if rng.random() < 0.5 else None) for function in request.functions)
    running = {functions[0].name: topology.nodes[0].name}
    return generate.loaded(rng, topology, 0.0, 0.6), replace(request, functions=functions, running=running)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_no_assignment_is_below_the_bound_and_none_is_missed_where_the_gap_is_zero(policy: Policy) -> None:
    proved = 0
    for seed in range(9):
        residual, request = small(seed)
        best, answer = enumerated(residual, request, policy), chain.place(residual, request, policy)
        if isinstance(answer, Placement):
            check.require(residual, request, policy, answer)
            assert answer.lower_bound <= best * (1 + 1e-9) <= answer.objective * (1 + 2e-9)
            proved += answer.gap == 0
        else:
            assert not answer.proved or best == np.inf
            proved += best == np.inf
    assert proved >= 4


def test_a_run_ends_where_memory_ends_though_cpu_is_left() -> None:
    topology = line(Site("a"), Site("b", (Node("b1", 9000, 2000),)), Site("c", (Node("c1", 9000, 9000),)))
    functions = [Function(f"f{number}", 100, 700) for number in range(4)]
    answer = placed(Residual.of(topology), walk(*functions))
    assert list(answer.assignment.values()) == ["b1", "b1", "c1", "c1"]
    assert answer.objective == answer.lower_bound == 2000
    assert answer.explanation == ("b: f0 to f1", "c: f2 to f3")


def test_a_site_with_room_in_sum_but_on_no_node_is_passed_over() -> None:
    near = Site("b", (Node("b1", 3000, 1000), Node("b2", 3000, 1000)))
    topology = line(Site("a"), near, Site("c", (Node("c1", 4000, 1000),)))
    answer = placed(Residual.of(topology), walk(Function("f", 4000, 10)))
    assert answer.assignment["f"] == "c1"
    assert answer.gap == 0


def test_what_the_sums_allow_but_the_nodes_do_not_is_proved_dearer() -> None:
    near = Site("b", (Node("b1", 4, 4), Node("b2", 4, 4)))
    topology = line(Site("a"), near, Site("c", (Node("c1", 9, 9),)))
    request = walk(*(Function(f"f{number}", *demand) for number, demand in enumerate(((2, 3), (3, 2), (2, 2)))))
    answer = placed(Residual.of(topology), request)
    assert sorted(answer.assignment.values()) == ["b1", "b2", "c1"]
    assert (answer.objective, answer.lower_bound) == (2000, 2000)
    quick = chain.place(Residual.of(topology), request, Policy(), steps=0)
    assert isinstance(quick, Placement)
    assert (quick.objective, quick.lower_bound) == (2000, 1000)


@pytest.mark.parametrize("opening", [0, 30, 3000])
def test_a_site_is_visited_again_where_that_is_best_and_opened_once(opening: float) -> None:
    """b takes the first and the last function, the one between needs a GPU at c; d is as far again."""
    gpu, near, far = Node("c1", 1000, 1000, classes=frozenset({"gpu"})), Node("b1", 2000, 2000), Node("d1", 99, 99)
    topology = line(Site("a"), Site("b", (near,)), Site("c", (gpu,)), Site("d", (far,)))
    request = walk(Function("f0", 1, 1), Function("f1", 1, 1, "gpu"), Function("f2", 1, 1), tail="b")
    answer = placed(Residual.of(topology), request, Policy(opening=opening))
    assert list(answer.assignment.values()) == ["b1", "c1", "b1"]
    assert answer.objective == 3000 + opening * 200
    quick = chain.place(Residual.of(topology), request, Policy(opening=opening), steps=0)
    assert isinstance(quick, Placement)
    assert quick.assignment["f2"] == "d1"
    assert quick.lower_bound <= answer.objective


def test_a_site_visited_again_holds_all_its_functions_together() -> None:
    """As above, but b has room for one of the two only."""
    gpu, near, far = Node("c1", 1000, 1000, classes=frozenset({"gpu"})), Node("b1", 1000, 1000), Node("d1", 600, 600)
    topology = line(Site("a"), Site("b", (near,)), Site("c", (gpu,)), Site("d", (far,)))
    request = walk(Function("f0", 600, 1), Function("f1", 1, 1, "gpu"), Function("f2", 600, 1), tail="b")
    answer = placed(Residual.of(topology), request)
    assert list(answer.assignment.values()) == ["b1", "c1", "d1"]
    assert answer.objective == answer.lower_bound == 5000


def test_a_proximity_class_is_kept_and_a_price_moves_what_may_move() -> None:
    topology = line(Site("a"), Site("b", (Node("b1", 1000, 1000),)), Site("c", (Node("c1", 1000, 1000),)))
    tight, loose = Function("tight", 100, 100, max_delay_us=1000), Function("loose", 100, 100)
    full = Residual.of(topology).commit(placed(Residual.of(topology), replace(walk(Function("g", 800, 1)), name="g")))
    assert placed(full, walk(loose)).assignment["loose"] == "b1"
    dear = Policy(acceptance=1_000)
    assert placed(full, walk(loose), dear).assignment["loose"] == "c1"
    assert placed(full, walk(tight, loose), dear).assignment == {"tight": "b1", "loose": "c1"}
    unplaced = chain.place(full, walk(replace(tight, max_delay_us=999)), Policy())
    assert isinstance(unplaced, chain.Unplaced)
    assert unplaced.proved


@pytest.fixture
def diamond() -> Topology:
    """a to d: by b fast but thin, by c slow and wide. Only d has a node."""
    fast, slow = ("a", "b"), ("a", "c")
    links = [Link(*fast, 100, 10, Capacity.PER_DIRECTION), Link("b", "d", 100, 10, Capacity.PER_DIRECTION)]
    links += [Link(*slow, 500, 99, Capacity.PER_DIRECTION), Link("c", "d", 500, 99, Capacity.PER_DIRECTION)]
    return Topology((Site("a"), Site("b"), Site("c"), Site("d", (Node("d1", 10, 10),))), tuple(links))


@pytest.mark.parametrize(("kbps", "path", "delay"), [(10, "abd", 200), (11, "acd", 1000)])
def test_a_channel_takes_the_fastest_path_with_room(diamond: Topology, kbps: int, path: str, delay: int) -> None:
    answer = placed(Residual.of(diamond), walk(Function("f", 1, 1), kbps=kbps))
    assert answer.paths["user", "f"] == tuple(path)
    assert answer.objective == answer.lower_bound == delay


@pytest.mark.parametrize(("wide", "objective"), [(99, 1200), (8, None)])
def test_channels_that_do_not_fit_one_path_together_take_two(wide: int, objective: int | None) -> None:
    """user (d) → f (a) → g (d) over links where both directions share the bandwidth; the second way is slow."""
    far, near = Node("a1", 5, 5, classes=frozenset({"gpu"})), Node("d1", 5, 5)
    sites = (Site("a", (far,)), Site("b"), Site("c"), Site("d", (near,)))
    ways = (("a", "b", 100, 10), ("b", "d", 100, 10), ("a", "c", 500, wide), ("c", "d", 500, wide))
    topology = Topology(sites, tuple(Link(*way, Capacity.SHARED) for way in ways))
    request = walk(Function("f", 1, 1, "gpu"), Function("g", 1, 1), kbps=9, anchor="d")
    if objective is None:
        assert isinstance(chain.place(Residual.of(topology), request, Policy()), chain.Unplaced)
        return
    answer = placed(Residual.of(topology), request)
    assert {path[1] for path in answer.paths.values()} == {"b", "c"}
    assert (answer.objective, answer.lower_bound) == (objective, 400)


def test_headroom_is_kept_free() -> None:
    topology = line(Site("a"), Site("b", (Node("b1", 1000, 1000),)), Site("c", (Node("c1", 2000, 2000),)))
    answer = placed(Residual.of(topology), walk(Function("f", 900, 10)), Policy(headroom=0.2))
    assert answer.assignment["f"] == "c1"


def test_guests_that_ask_for_isolation_keep_others_away() -> None:
    topology = line(Site("a"), Site("b", (Node("b1", 1000, 1000),)), Site("c", (Node("c1", 1000, 1000),)))
    alone = Function("f", 1, 1, isolation=Isolation.TENANT)
    first = placed(Residual.of(topology), replace(walk(alone), name="first", tenant="one"))
    taken = Residual.of(topology).commit(first)
    other = replace(walk(Function("g", 1, 1)), tenant="two")
    assert not may_share(alone, "one", other.functions[0], "two")
    assert placed(taken, other).assignment["g"] == "c1"
    assert placed(taken, replace(other, tenant="one")).assignment["g"] == "b1"
    assert placed(taken.release(first), other).assignment["g"] == "b1"


def unsuitable() -> Iterator[Request]:
    """Requests with rules that the search does not know."""
    request = walk(Function("f", 1, 1), Function("g", 1, 1))
    yield replace(request, affinities=(Affinity(frozenset({"f", "g"}), Scope.NODE),))
    yield replace(request, max_path_us=1)
    yield replace(request, shape=Shape.DAG)
    yield walk(Function("f", 1, 1, isolation=Isolation.EXCLUSIVE))


@pytest.mark.parametrize("request_", list(unsuitable()))
def test_requests_with_other_rules_are_turned_away(request_: Request) -> None:
    topology = line(Site("a"), Site("b", (Node("b1", 1000, 1000),)))
    with pytest.raises(ValueError, match=r"Request r: segment-a\* is for chains without affinities"):
        chain.place(Residual.of(topology), request_, Policy())


def test_a_topology_without_nodes_and_one_out_of_reach_have_no_placement() -> None:
    request = walk(Function("f", 1, 1))
    for topology in (line(Site("a"), Site("b")), Topology((Site("a"), Site("b", (Node("b1", 9, 9),))))):
        answer = chain.place(Residual.of(topology), request, Policy())
        assert isinstance(answer, chain.Unplaced)
        assert answer.proved


def test_equal_questions_have_equal_answers() -> None:
    residual, request, policy = generate.instance(np.random.default_rng(5))
    one, two = placed(residual, request, policy), placed(residual, request, policy)
    assert one == replace(two, milliseconds=one.milliseconds)
