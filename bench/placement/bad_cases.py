"""The catalogue of bad input: run by the bench's row 9 (:mod:`.bad_input`) and, case by case, by the unit tests.

:data:`MALFORMED` cannot be meant: the answer is a ValueError. :data:`IMPOSSIBLE` can be meant and not be met: the
answer is a Refusal. Either names the field, or what stopped the request, in the words of the case.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

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
)
from tephra.placement.solve import solve

NAN, INFINITY = float("nan"), float("inf")


class Case(NamedTuple):
    """Input that is bad, and the words its answer must hold."""

    what: str
    make: Callable[[], object]
    names: tuple[str, ...]


def _node(**fields: Any) -> Callable[[], object]:
    return partial(Node, **_but({"name": "n", "cpu_m": 1, "memory_mib": 1}, fields))


def _function(**fields: Any) -> Callable[[], object]:
    return partial(Function, **_but({"name": "f", "cpu_m": 1, "memory_mib": 1}, fields))


def _link(**fields: Any) -> Callable[[], object]:
    sound = {"a": "x", "b": "y", "delay_us": 1, "bandwidth_kbps": 1, "capacity": Capacity.SHARED}
    return partial(Link, **_but(sound, fields))


def _channel(kbps: Any) -> Callable[[], object]:
    return partial(Channel, "f", "g", kbps)


def _policy(**fields: Any) -> Callable[[], object]:
    return partial(Policy, **fields)


def _but(sound: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Fields that are sound but for those given."""
    return sound | fields


def _request(shape: str, *channels: tuple[str, str], count: int = 3, **fields: Any) -> Callable[[], object]:
    """Functions f0, f1, ... and the user u, joined by `channels`."""
    sound = {
        "functions": tuple(Function(f"f{number}", 1, 1) for number in range(count)),
        "channels": tuple(Channel(a, b, 1) for a, b in channels),
        "endpoints": (Endpoint("u", "edge"),),
        "anchor": "u",
    }
    return partial(Request, **_but(sound | {"name": "r", "shape": shape}, fields))


def _sites(*sites: Site, links: tuple[Link, ...] = ()) -> Callable[[], object]:
    return lambda: Topology(sites, links)


def _solved(**fields: Any) -> Callable[[], object]:
    """A sound little chain, but for `fields`, on two sites."""
    return lambda: solve(_two_sites(), replace(_pair(), **fields))


def _two_sites(**link: Any) -> Residual:
    edge, core = Site("edge", (Node("e", 1000, 1024),)), Site("core", (Node("c", 4000, 4096),))
    sound = {"a": "edge", "b": "core", "delay_us": 100, "bandwidth_kbps": 1000, "capacity": Capacity.SHARED}
    return Residual.of(Topology((edge, core), (Link(**_but(sound, link)),)))


def _pair(first: Function | None = None, **fields: Any) -> Request:
    """user → f0 → f1, together too much for the site edge."""
    functions = (first or Function("f0", 800, 512), Function("f1", 800, 512))
    channels = (Channel("u", "f0", 10), Channel("f0", "f1", 10))
    return replace(Request("r", Shape.CHAIN, functions, channels, (Endpoint("u", "edge"),), "u"), **fields)


def _joined() -> Request:
    ends = (Endpoint("u", "edge"), Endpoint("v", "edge"))
    return Request("r", Shape.GRAPH, (Function("f", 1, 1),), (Channel("u", "v", 1),), ends)


_CHAIN, _TREE, _DAG, _GRAPH = Shape.CHAIN, Shape.TREE, Shape.DAG, Shape.GRAPH
_LINE = (("u", "f0"), ("f0", "f1"), ("f1", "f2"))

MALFORMED = (
    *(Case(f"node, cpu_m {bad}", _node(cpu_m=bad), ("Node n", "cpu_m")) for bad in (NAN, INFINITY, -1, 0.5, "4", True)),
    *(Case(f"node, memory_mib {bad}", _node(memory_mib=bad), ("Node n", "memory_mib")) for bad in (NAN, -1, None)),
    Case("node without a name", _node(name=""), ("Node", "name")),
    Case("node, classes a string", _node(classes="vm"), ("Node n", "classes")),
    Case("node, awake a word", _node(awake="yes"), ("Node n", "awake")),
    Case("affinity, anti a word", lambda: Affinity(frozenset({"f", "g"}), Scope.NODE, "no"), ("Affinity", "anti")),  # type: ignore[arg-type]
    Case("site beyond the pole", lambda: Site("x", latitude=91.0), ("Site x", "latitude")),
    Case("site, longitude NaN", lambda: Site("x", longitude=NAN), ("Site x", "longitude")),
    Case("power curve, NaN watts", lambda: PowerCurve(((0, NAN), (1, 2))), ("PowerCurve", "watts")),
    Case("power curve that starts at a half", lambda: PowerCurve(((0.5, 1), (1, 2))), ("PowerCurve", "share")),
    Case("power curve of one point", lambda: PowerCurve(((0, 1),)), ("PowerCurve", "two")),
    Case("layer, negative size", lambda: Layer("d", -1), ("Layer d", "mib")),
    Case("image with a layer twice", lambda: Image("i", (Layer("d", 1), Layer("d", 1))), ("Image i", "layers")),
    *(Case(f"link, delay_us {bad}", _link(delay_us=bad), ("Link x - y", "delay_us")) for bad in (NAN, -1, 1.5)),
    *(Case(f"link, bandwidth {bad}", _link(bandwidth_kbps=bad), ("Link x - y", "bandwidth_kbps")) for bad in (NAN, -1)),
    Case("link, capacity unstated", _link(capacity="both"), ("Link x - y", "capacity", "both")),
    Case("link from a site to itself", _link(b="x"), ("Link x - x", "a and b")),
    Case("topology without sites", _sites(), ("Topology", "sites")),
    Case("site named twice", _sites(Site("x"), Site("x")), ("Topology", "sites", "twice")),
    Case("node named twice", _sites(Site("x", (Node("n", 1, 1), Node("n", 1, 1)))), ("Topology", "nodes", "twice")),
    Case("link to nowhere", lambda: Topology((Site("x"),), (_two_sites().topology.links[0],)), ("Link", "edge")),
    Case(
        "parallel links",
        _sites(Site("x"), Site("y"), links=(Link("x", "y", 1, 1, Capacity.SHARED),) * 2),
        ("Topology", "links", "twice"),
    ),
    *(Case(f"function, cpu_m {bad}", _function(cpu_m=bad), ("Function f", "cpu_m")) for bad in (NAN, INFINITY, -1)),
    *(Case(f"function, memory_mib {bad}", _function(memory_mib=bad), ("memory_mib",)) for bad in (NAN, -1)),
    *(Case(f"function, max_delay_us {bad}", _function(max_delay_us=bad), ("max_delay_us",)) for bad in (NAN, -1, 0.1)),
    Case("function without a class", _function(compute_class=""), ("Function f", "compute_class")),
    Case("function, isolation unknown", _function(isolation="quiet"), ("Function f", "isolation", "quiet")),
    Case("function, sites a string", _function(sites="edge"), ("Function f", "sites")),
    Case("channel to itself", lambda: Channel("f", "f", 1), ("Channel f", "same")),
    *(Case(f"channel of {bad}", _channel(bad), ("bandwidth_kbps",)) for bad in (NAN, -1)),
    Case("affinity of one", lambda: Affinity(frozenset({"f"}), Scope.NODE), ("Affinity", "members")),
    Case("request without functions", _request(_GRAPH, count=0), ("Request r", "functions")),
    Case("function named twice", _request(_GRAPH, functions=(Function("f", 1, 1),) * 2), ("functions", "twice")),
    Case("endpoint named as a function", _request(_GRAPH, endpoints=(Endpoint("f0", "edge"),)), ("f0", "twice")),
    Case("channel to an unknown function", _request(_GRAPH, ("f0", "f9")), ("channels", "f9")),
    Case("channel twice", _request(_GRAPH, ("f0", "f1"), ("f0", "f1")), ("channels", "twice")),
    Case("channel between endpoints", _joined, ("channels", "'u'", "'v'")),
    Case("cycle where a chain is asked", _request(_CHAIN, *_LINE, ("f2", "f0")), ("chain", "cycle")),
    Case("cycle where a tree is asked", _request(_TREE, ("f0", "f1"), ("f1", "f2"), ("f2", "f0")), ("tree", "cycle")),
    Case("cycle where a DAG is asked", _request(_DAG, ("f0", "f1"), ("f1", "f0")), ("dag", "cycle")),
    Case("chain that branches", _request(_CHAIN, ("f0", "f1"), ("f0", "f2")), ("chain", "branch", "f0")),
    Case("chain that joins", _request(_CHAIN, ("f0", "f2"), ("f1", "f2")), ("chain", "join", "f2")),
    Case("chain in two pieces", _request(_CHAIN, ("f0", "f1")), ("chain", "f2")),
    Case("endpoint inside a chain", _request(_CHAIN, *_LINE, ("u", "f1")), ("chain", "endpoint", "f1")),
    Case("tree that joins", _request(_TREE, ("f0", "f1"), ("f0", "f2"), ("f1", "f2")), ("tree", "join", "f2")),
    Case("tree of two roots", _request(_TREE, ("f0", "f2")), ("tree", "f1")),
    Case("single of three", _request(Shape.SINGLE), ("single", "functions")),
    Case("shape unknown", _request("ring"), ("Request r", "shape", "ring")),
    Case("anchor unknown", _request(_CHAIN, *_LINE, anchor="w"), ("anchor", "w")),
    Case("delay bound, no anchor", lambda: _pair(Function("f0", 1, 1, max_delay_us=1), anchor=None), ("anchor", "f0")),
    Case("path bound of a graph", _request(_GRAPH, ("f0", "f1"), max_path_us=1), ("max_path_us", "graph")),
    Case("path bound NaN", _request(_CHAIN, *_LINE, max_path_us=NAN), ("max_path_us",)),
    Case("running, unknown function", _request(_GRAPH, running={"f9": "n"}), ("running", "f9")),
    Case(
        "affinity with a stranger",
        _request(_GRAPH, affinities=(Affinity(frozenset({"f0", "f9"}), Scope.SITE),)),
        ("affinities", "f9"),
    ),
    Case(
        "affinity to an endpoint without node",
        _request(_GRAPH, affinities=(Affinity(frozenset({"f0", "u"}), Scope.NODE),)),
        ("affinities", "u", "node"),
    ),
    *(Case(f"policy, latency {bad}", _policy(latency=bad), ("Policy", "latency")) for bad in (NAN, -1.0)),
    Case("policy, infinite price", lambda: Policy(acceptance=INFINITY), ("Policy", "acceptance")),
    Case("policy, price_base below 1", lambda: Policy(price_base=0.5), ("Policy", "price_base")),
    *(Case(f"policy, headroom {bad}", _policy(headroom=bad), ("headroom",)) for bad in (NAN, -0.1, 1.1)),
    Case("anchor at an unknown site", _solved(endpoints=(Endpoint("u", "moon"),)), ("endpoint u", "site", "moon")),
    Case("endpoint on an unknown node", _solved(endpoints=(Endpoint("u", "edge", "x"),)), ("endpoint u", "node", "x")),
    Case("endpoint on another site's node", _solved(endpoints=(Endpoint("u", "edge", "c"),)), ("node", "'c'", "edge")),
    Case(
        "function for an unknown site",
        _solved(functions=(Function("f0", 1, 1, sites=frozenset({"moon"})), Function("f1", 1, 1))),
        ("function f0", "sites", "moon"),
    ),
    Case("solver unknown", lambda: solve(_two_sites(), _pair(), solver="magic"), ("solver", "magic")),
)


def _asked(residual: Residual, request: Request, policy: Policy | None = None) -> Callable[[], object]:
    return lambda: solve(residual, request, policy)


def _crowd_of(count: int) -> Request:
    """A chain whose functions fit one by one, and not together."""
    functions = tuple(Function(f"f{number}", 800, 1) for number in range(count))
    channels = tuple(Channel(f"f{number}", f"f{number + 1}", 1) for number in range(count - 1))
    return Request("r", Shape.CHAIN, functions, channels)


def _far() -> Request:
    """A chain that fits the site core only."""
    return _pair(Function("f0", 2000, 512))


def _from_isle() -> Request:
    return _pair(Function("f0", 1, 1, max_delay_us=10**6), endpoints=(Endpoint("u", "isle"),))


def _taken() -> Residual:
    """Both nodes have a guest."""
    residual = _two_sites()
    for site, cpu_m in (("edge", 100), ("core", 100)):
        lodger = Request(f"lodger at {site}", Shape.SINGLE, (Function("g", cpu_m, 1, sites=frozenset({site})),))
        placed = solve(residual, lodger)
        residual = residual.commit(placed) if isinstance(placed, Placement) else residual
    return residual


_NODELESS = Residual.of(Topology((Site("edge"), Site("core")), (Link("edge", "core", 1, 1000, Capacity.SHARED),)))
_APART = Residual.of(Topology(_two_sites().topology.sites))
_ZERO = Residual.of(Topology((Site("edge", (Node("e", 0, 0),)), Site("core", (Node("c", 0, 0),)))))

IMPOSSIBLE = (
    Case("no nodes at all", _asked(_NODELESS, _pair()), ("compute_class", "'f0'")),
    Case("disconnected graph", _asked(_APART, _pair()), ("cpu_m", "links to others")),
    Case("link of no bandwidth", _asked(_two_sites(bandwidth_kbps=0), _pair()), ("cpu_m", "links to others")),
    Case("link the wrong way", _asked(_two_sites(a="core", b="edge", capacity="one-way"), _pair()), ("links to",)),
    Case("link too thin", _asked(_two_sites(bandwidth_kbps=9), _far()), ("bandwidth_kbps", "edge", "core", "9")),
    Case("no link to the only node", _asked(_APART, _far()), ("bandwidth_kbps", "no links join")),
    Case("nodes of no capacity", _asked(_ZERO, _pair()), ("cpu_m", "'f0'")),
    Case("CPU above any node", _asked(_two_sites(), _pair(Function("f0", 4001, 1))), ("cpu_m", "4000")),
    Case("memory above any node", _asked(_two_sites(), _pair(Function("f0", 1, 4097))), ("memory_mib", "4096")),
    Case("all together above all nodes", _asked(_two_sites(), _crowd_of(7)), ("cpu_m", "5000")),
    Case("a class nobody has", _asked(_two_sites(), _pair(Function("f0", 1, 1, "sgx"))), ("sgx", "compute_class")),
    Case(
        "a delay nobody meets",
        _asked(_two_sites(), _pair(Function("f0", 2000, 1, max_delay_us=99))),
        ("cpu_m", "1000"),
    ),
    Case(
        "unreachable anchor",
        _asked(Residual.of(Topology((*_APART.topology.sites, Site("isle")))), _from_isle()),
        ("max_delay_us", "no link"),
    ),
    Case(
        "isolation on taken nodes",
        lambda: solve(_taken(), _pair(Function("f0", 1, 1, isolation=Isolation.EXCLUSIVE))),
        ("isolation", "'f0'"),
    ),
    Case("headroom of all there is", _asked(_two_sites(), _pair(), Policy(headroom=1.0)), ("cpu_m", "than 0 free")),
)
