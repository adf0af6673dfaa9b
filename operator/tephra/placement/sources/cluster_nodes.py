"""Kubernetes Nodes, as the API returns them → the sites of a :class:`tephra.placement.model.Topology`.

Read are the label ``tephra.dev/site``, ``status.allocatable``, ``status.images``, and the labels
``tephra.dev/class-NAME: "true"`` by which a node says that it runs the compute class NAME beside containers (a
RuntimeClass selects its nodes by such labels). Links between sites are not in the API: the caller gives them. A Node
that is cordoned or not ready stays in the topology, so that what runs there is known, but takes nothing new: it has no
class. One that was switched off to save energy (label ``tephra.dev/powered-off: "true"``) is asleep and may be woken.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from tephra.placement.model import Link, Node, PowerCurve, Site, Topology

SITE_LABEL = "tephra.dev/site"
CLASS_PREFIX = "tephra.dev/class-"
OFF_LABEL = "tephra.dev/powered-off"
DEFAULT_SITE = "default"  # of Nodes without the label
_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([numkKMGTPE]?i?)")


def topology(
    nodes: Iterable[Mapping[str, Any]],
    links: Sequence[Link] = (),
    power: Mapping[str, PowerCurve] | None = None,
    transit: Iterable[str] = (),
) -> Topology:
    """The topology of Node objects and the links between their sites.

    `power` gives the curves of Nodes by name, `transit` the names of sites without Nodes that links use. ValueError
    names the Node and the field that cannot be read.
    """
    racks: dict[str, list[Node]] = defaultdict(list)
    for name in transit:
        racks[name]  # a site without nodes
    for item in nodes:
        site, node = _node(item, power or {})
        racks[site].append(node)
    return Topology(tuple(Site(name, tuple(racks[name])) for name in sorted(racks)), tuple(links))


def millicores(owner: str, quantity: object) -> int:
    """A Kubernetes CPU quantity such as "3920m" or "4", rounded down."""
    return math.floor(_quantity(owner, "cpu", quantity) * 1000)


def mebibytes(owner: str, quantity: object) -> int:
    """A Kubernetes memory quantity such as "16Gi" or "16400264Ki", rounded down."""
    return math.floor(_quantity(owner, "memory", quantity) / 1024**2)


def _node(item: Mapping[str, Any], power: Mapping[str, PowerCurve]) -> tuple[str, Node]:
    """The site and the node of one Node object."""
    meta, status = item.get("metadata") or {}, item.get("status") or {}
    name = meta.get("name")
    if not name:
        raise ValueError("Node: metadata.name is missing; give Node objects as `kubectl get nodes -o json` prints them")
    owner, labels, allocatable = f"Node {name}", meta.get("labels") or {}, status.get("allocatable") or {}
    for resource in ("cpu", "memory"):
        if resource not in allocatable:
            raise ValueError(f"{owner}: status.allocatable.{resource} is missing; wait until its kubelet has reported")
    asleep = labels.get(OFF_LABEL) == "true"
    usable = asleep or not ((item.get("spec") or {}).get("unschedulable") or not _ready(status))
    images = (image for images in status.get("images") or () for image in images.get("names") or ())
    return labels.get(SITE_LABEL, DEFAULT_SITE), Node(
        name,
        millicores(owner, allocatable["cpu"]),
        mebibytes(owner, allocatable["memory"]),
        classes=_classes(labels) if usable else frozenset(),
        images=frozenset(images),
        power=power.get(name, PowerCurve()),
        awake=not asleep,
    )


def _classes(labels: Mapping[str, str]) -> frozenset[str]:
    marked = (label for label, value in labels.items() if label.startswith(CLASS_PREFIX) and value == "true")
    return frozenset({"container", *(label.removeprefix(CLASS_PREFIX) for label in marked)})


def _ready(status: Mapping[str, Any]) -> bool:
    conditions = {item.get("type"): item.get("status") for item in status.get("conditions") or ()}
    return str(conditions.get("Ready", "True")) == "True"


def _quantity(owner: str, resource: str, quantity: object) -> Decimal:
    """Kubernetes' resource.Quantity: a decimal number with a decimal or binary suffix."""
    parsed = _QUANTITY.fullmatch(str(quantity))
    if not parsed or parsed[2] not in _SUFFIXES or Decimal(parsed[1]) < 0:
        raise ValueError(f"{owner}: status.allocatable.{resource} is {quantity!r}; give a quantity such as 4 or 16Gi")
    return Decimal(parsed[1]) * _SUFFIXES[parsed[2]]
