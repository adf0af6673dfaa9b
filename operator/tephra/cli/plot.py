"""Pictures of placement: the map of a topology with a placement on it, and the acceptance curve of a simulation.

Neighbours: :mod:`tephra.placement.model` (what is drawn), :mod:`.canvas`, :mod:`.place` (who asks).
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tephra.cli.canvas import COLOURS, canvas, save
from tephra.placement.model import Placement, Request, Topology
from tephra.placement.network import routes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PATH, USED, LINK = COLOURS[1], COLOURS[0], "#cccccc"


def draw_map(topology: Topology, placement: Placement, path: Path) -> None:
    """Sites (those with nodes as squares) and links, grey; the placement's sites and paths in colour, labelled."""
    figure, axes = canvas(10, 8)
    at = {site.name: point for site, point in zip(topology.sites, positions(topology), strict=True)}
    for link in topology.links:
        _line(axes, at[link.a], at[link.b], LINK, 0.8)
    for way in placement.paths.values():
        for a, b in pairwise(way):
            _line(axes, at[a], at[b], PATH, 2.2)
    for site in topology.sites:
        axes.plot(*at[site.name], marker="s" if site.nodes else ".", color="#888888", markersize=6 if site.nodes else 3)
    for name, labels in _labels(topology, placement.request, placement).items():
        axes.plot(*at[name], marker="s", color=USED, markersize=9)
        axes.annotate(f"{name}\n{labels}", at[name], textcoords="offset points", xytext=(6, 4), fontsize=7)
    axes.set_title(f"{placement.request.name}: objective {placement.objective:.6g}, gap {placement.gap:.2%}")
    axes.set_axis_off()
    save(figure, path)


def draw_acceptance(accepted: Sequence[bool], path: Path) -> None:
    """The share of all arrivals so far that was accepted, after each."""
    figure, axes = canvas(7, 4)
    share = np.cumsum(accepted) / np.arange(1, len(accepted) + 1)
    axes.plot(range(1, len(accepted) + 1), 100 * share, color=USED)
    axes.set_xlabel("arrivals")
    axes.set_ylabel("accepted so far, %")
    axes.set_ylim(0, 102)
    axes.grid(alpha=0.3)
    save(figure, path)


def positions(topology: Topology) -> NDArray[np.float64]:
    """(S, 2) where to draw the sites: longitude and latitude if all have them, else such that distances on paper are
    like delays (classical multidimensional scaling)."""
    known = [(site.longitude, site.latitude) for site in topology.sites]
    if all(None not in point for point in known):
        return np.array(known, dtype=float)
    size = len(topology.sites)
    delay = np.minimum(routes(topology, topology.arc_delay).rows(np.arange(size)), 1e9)
    near = np.minimum(delay, delay.T)
    near[near >= 1e9] = 1.5 * near[near < 1e9].max(initial=1.0)
    centre = np.eye(size) - 1 / size
    strength, axes = np.linalg.eigh(-centre @ (near**2) @ centre / 2)
    return np.asarray(np.pad(axes, ((0, 0), (2, 0)))[:, -2:] * np.sqrt(np.maximum(np.pad(strength, (2, 0))[-2:], 0)))


def _labels(topology: Topology, request: Request, placement: Placement) -> dict[str, str]:
    """What stands at each site used."""
    here: dict[str, list[str]] = defaultdict(list)
    for endpoint in request.endpoints:
        here[endpoint.site].append(endpoint.name)
    for function, node in placement.assignment.items():
        here[topology.site_of(node)].append(function)
    return {site: ", ".join([*names[:4], f"+{len(names) - 4}"][: len(names)]) for site, names in here.items()}


def _line(axes: "Axes", a: NDArray[np.float64], b: NDArray[np.float64], colour: str, width: float) -> None:
    axes.plot((a[0], b[0]), (a[1], b[1]), color=colour, linewidth=width, zorder=1)
