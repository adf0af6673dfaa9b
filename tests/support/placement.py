"""Small problems for the tests of the placement core, and Hypothesis strategies for small problems of every kind."""

import itertools
from dataclasses import replace

from hypothesis import strategies as st

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
    Policy,
    PowerCurve,
    Request,
    Residual,
    Scope,
    Shape,
    Site,
    Topology,
)

MBIT = 1000  # kbit/s
VM = frozenset({"container", "vm"})


def estate() -> Topology:
    """access - edge (one small node) - metro (two nodes) - core (a big node that sleeps); a radio link edge - core."""
    curve = PowerCurve(((0.0, 50.0), (0.5, 70.0), (1.0, 110.0)))
    return Topology(
        (
            Site("access"),
            Site("edge", (Node("e1", 2000, 4096, power=curve),)),
            Site(
                "metro", (Node("m1", 4000, 8192, power=curve), Node("m2", 4000, 8192, frozenset({"container", "vm"})))
            ),
            Site("core", (Node("c1", 16000, 65536, power=curve, awake=False),)),
        ),
        (
            Link("access", "edge", 500, 100 * MBIT, Capacity.PER_DIRECTION),
            Link("edge", "metro", 2000, 100 * MBIT, Capacity.PER_DIRECTION),
            Link("metro", "core", 8000, 1000 * MBIT, Capacity.PER_DIRECTION),
            Link("edge", "core", 9000, 20 * MBIT, Capacity.SHARED),
        ),
    )


def chain_of(*functions: Function, kbps: int = 5 * MBIT, user: str = "access", **more: object) -> Request:
    """user → f → ... → f."""
    members = ("user", *(function.name for function in functions))
    channels = tuple(Channel(a, b, kbps) for a, b in itertools.pairwise(members))
    request = Request("guard", Shape.CHAIN, functions, channels, (Endpoint("user", user),), "user")
    return replace(request, **more)  # type: ignore[arg-type]  # whatever field a test wants


def empty(topology: Topology | None = None) -> Residual:
    """The residual of a topology (:func:`estate`) that holds nothing."""
    return Residual.of(topology or estate())


_small = st.integers(0, 4)
_kbps = st.sampled_from([0, 3, 8, 100])
_yes = st.booleans()
_images = st.sampled_from(
    [None, Image("x", (Layer("sha256:a", 10),)), Image("y", (Layer("sha256:a", 10), Layer("sha256:b", 20)))]
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """One to five sites of zero to two nodes; links that may be missing, down, one-way or shared, of delay 0 too."""
    sites = [Site(f"s{number}", tuple(_nodes(draw, number))) for number in range(draw(st.integers(1, 5)))]
    pairs = [(a.name, b.name) for n, a in enumerate(sites) for b in sites[n + 1 :]]
    links = [
        Link(a, b, draw(st.integers(0, 9)), draw(_kbps), draw(st.sampled_from(list(Capacity))))
        for a, b in pairs
        if draw(st.integers(0, 2))
    ]
    return Topology(tuple(sites), tuple(links))


def _nodes(draw: st.DrawFn, site: int) -> list[Node]:
    return [
        Node(
            f"n{site}.{number}",
            draw(st.sampled_from([0, 2, 5, 9])),
            draw(st.sampled_from([0, 3, 9])),
            draw(st.sampled_from([frozenset({"container"}), VM, frozenset()])),
            draw(st.sampled_from([frozenset(), frozenset({"x"})])),
            draw(st.sampled_from([frozenset(), frozenset({"sha256:a"})])),
            PowerCurve(((0.0, draw(st.sampled_from([0.0, 40.0]))), (1.0, 60.0))),
            draw(_yes),
        )
        for number in range(draw(st.integers(0, 2)))
    ]


@st.composite
def requests(draw: st.DrawFn, topology: Topology, name: str = "r", shape: Shape | None = None) -> Request:
    """One to four functions in any shape, with every kind of rule."""
    shape = shape or draw(st.sampled_from(list(Shape)))
    sites = [site.name for site in topology.sites]
    count = 1 if shape is Shape.SINGLE else draw(st.integers(1, 4))
    functions = tuple(_function(draw, number, sites) for number in range(count))
    endpoints = tuple(Endpoint(f"e{number}", draw(st.sampled_from(sites))) for number in range(draw(st.integers(1, 2))))
    pairs = _pairs(draw, shape, [f.name for f in functions], [e.name for e in endpoints])
    channels = tuple(Channel(a, b, draw(st.sampled_from([0, 1, 3, 6]))) for a, b in pairs)
    names = [function.name for function in functions]
    affinities = tuple(
        Affinity(frozenset(names[:2]), draw(st.sampled_from(list(Scope))), draw(_yes))
        for _ in range(draw(st.integers(0, 1)) if count > 1 else 0)
    )
    running = {name: node.name for name, node in zip(names[:1], topology.nodes, strict=False) if draw(_yes)}
    bound = draw(st.sampled_from([None, None, 12])) if shape is Shape.CHAIN else None
    tenant = draw(st.sampled_from(["alice", "bob"]))
    return Request(name, shape, functions, channels, endpoints, "e0", affinities, tenant, bound, running)


def _function(draw: st.DrawFn, number: int, sites: list[str]) -> Function:
    return Function(
        f"f{number}",
        draw(_small),
        draw(_small),
        draw(st.sampled_from(["container", "container", "container", "vm"])),
        draw(st.sampled_from([None, None, 0, 6, 12])),
        draw(_images),
        draw(st.sampled_from([Isolation.NONE, Isolation.NONE, *Isolation])),
        frozenset(draw(st.sampled_from([[], [], [], sites[:2]]))),
    )


def _pairs(draw: st.DrawFn, shape: Shape, functions: list[str], endpoints: list[str]) -> list[tuple[str, str]]:
    """Channels of that shape, from the first endpoint on."""
    along = [(endpoints[0], functions[0])]
    if shape is Shape.CHAIN:
        return along + list(itertools.pairwise(functions))
    if shape is Shape.TREE:
        return along + [(functions[draw(st.integers(0, n - 1))], functions[n]) for n in range(1, len(functions))]
    members = functions + endpoints
    pairs = {(a, b) for a in members for b in members if a != b and {a, b} & set(functions) and draw(_yes)}
    if shape is Shape.DAG:
        pairs = {(a, b) for a, b in pairs if a in endpoints or b in endpoints or a < b}
    return sorted(pairs)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any mix of dials."""
    dial = st.sampled_from([0.0, 0.0, 1.0, 2.5])
    return Policy(
        latency=draw(st.sampled_from([0.0, 1.0, 1.0])),
        acceptance=draw(dial),
        watts=draw(dial),
        disruption=draw(dial),
        opening=draw(dial),
        pull=draw(dial),
        traffic=draw(dial),
        headroom=draw(st.sampled_from([0.0, 0.0, 0.1])),
    )
