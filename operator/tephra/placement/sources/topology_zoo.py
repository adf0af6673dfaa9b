"""GraphML of the Internet Topology Zoo → :class:`tephra.placement.model.Topology`, sites without nodes (servers).

The archive gives positions, not delays: a link's delay is its great-circle length at 5 µs per km (light in fibre) plus
50 µs for the hop. A vertex without position stands at the mean of its neighbours. Loops are dropped and parallel edges
become one link. Bandwidth is LinkSpeedRaw where given. The caller has read the file: this is pure.
"""

import math
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping

from tephra.placement.model import Capacity, Link, Site, Topology

Position = tuple[float, float]  # latitude, longitude in degrees

_XMLNS = "{http://graphml.graphdrawing.org/xmlns}"
EARTH_KM, US_PER_KM, HOP_US = 6371.0, 5.0, 50
DEFAULT_KBPS = 10_000_000


def parse(text: str, bandwidth_kbps: int = DEFAULT_KBPS, capacity: Capacity = Capacity.PER_DIRECTION) -> Topology:
    """The topology of a GraphML document. `bandwidth_kbps` is that of links whose speed is not given; `capacity` says
    what it means. ValueError when the text is not GraphML or gives no position at all."""
    graph, keys = _graph(text)
    vertices = {vertex.get("id", ""): _data(vertex, keys) for vertex in graph.iter(f"{_XMLNS}node")}
    edges: dict[tuple[str, str], Mapping[str, str]] = {}
    for edge in graph.iter(f"{_XMLNS}edge"):
        a, b = sorted((edge.get("source", ""), edge.get("target", "")))
        if a not in vertices or b not in vertices:
            raise ValueError(f"GraphML: edge {a!r} - {b!r} names a node that is not there")
        if a != b:
            edges.setdefault((a, b), _data(edge, keys))
    at, names = _positions(vertices, list(edges)), _names(vertices)
    sites = [Site(names[key], latitude=at[key][0], longitude=at[key][1]) for key in vertices]
    links = [
        Link(names[a], names[b], delay_us(at[a], at[b]), _speed_kbps(data, bandwidth_kbps), capacity)
        for (a, b), data in edges.items()
    ]
    return Topology(tuple(sites), tuple(links))


def delay_us(one: Position, other: Position) -> int:
    """One-way delay of a fibre between two positions, by the haversine formula."""
    lat1, lon1, lat2, lon2 = map(math.radians, (*one, *other))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return round(2 * EARTH_KM * math.asin(math.sqrt(half)) * US_PER_KM) + HOP_US


def _graph(text: str) -> tuple[ET.Element, dict[str, str]]:
    """The graph element, and the names of the data keys."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(f"GraphML: the text is not XML: {error}") from None
    graph = root.find(f"{_XMLNS}graph")
    if graph is None or graph.find(f"{_XMLNS}node") is None:
        raise ValueError("GraphML: there is no graph with nodes in the GraphML name space")
    return graph, {key.get("id", ""): key.get("attr.name", "") for key in root.iter(f"{_XMLNS}key")}


def _data(element: ET.Element, keys: Mapping[str, str]) -> Mapping[str, str]:
    return {keys.get(data.get("key", ""), ""): data.text or "" for data in element.iter(f"{_XMLNS}data")}


def _names(vertices: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Labels where they are unique, else label and identifier."""
    labels = {key: data.get("label") or key for key, data in vertices.items()}
    count = Counter(labels.values())
    return {key: label if count[label] == 1 else f"{label} ({key})" for key, label in labels.items()}


def _positions(vertices: Mapping[str, Mapping[str, str]], edges: list[tuple[str, str]]) -> dict[str, Position]:
    """Given positions, and those of the others by waves of means of neighbours, last the mean of all."""
    at = {
        key: (float(data["Latitude"]), float(data["Longitude"]))
        for key, data in vertices.items()
        if "Latitude" in data and "Longitude" in data
    }
    if not at:
        raise ValueError("GraphML: no node has Latitude and Longitude, so delays are unknown; give positions")
    near: dict[str, list[str]] = {key: [] for key in vertices}
    for a, b in edges:
        near[a].append(b)
        near[b].append(a)
    while len(at) < len(vertices):
        known = {key: [at[other] for other in near[key] if other in at] or None for key in vertices if key not in at}
        wave = {key: _mean(positions) for key, positions in known.items() if positions}
        at |= wave or dict.fromkeys(known, _mean(list(at.values())))
    return at


def _mean(positions: list[Position]) -> Position:
    latitudes, longitudes = zip(*positions, strict=True)
    return sum(latitudes) / len(positions), sum(longitudes) / len(positions)


def _speed_kbps(data: Mapping[str, str], default: int) -> int:
    return round(float(data["LinkSpeedRaw"]) / 1000) if data.get("LinkSpeedRaw") else default
