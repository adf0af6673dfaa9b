"""Builds and draws the tree of ``kubectl tephra status``: objects, conditions, children. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tephra.api.labels import OWNER_UID
from tephra.cli import health as judge
from tephra.cli.health import Health, Item

_COLOURS = {Health.GOOD: "32", Health.WORKING: "33", Health.BAD: "31", Health.NEUTRAL: "2"}
_SUMMARY = ("Ready", "Reconciling", "Stalled")
_ATTACHMENT = {"Attached": Health.GOOD, "Pending": Health.WORKING}


@dataclass(frozen=True)
class Node:
    """One line of the tree."""

    kind: str
    name: str
    health: Health = Health.NEUTRAL
    note: str = ""
    children: tuple["Node", ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "health": self.health.name.lower(),
            "note": self.note,
            "children": [child.as_json() for child in self.children],
        }


@dataclass(frozen=True)
class Found:
    """What was read from the cluster."""

    items: Sequence[Item] = ()
    """Objects of our kinds, all kinds mixed."""
    children: Sequence[Item] = ()
    """Deployments, Services and Pods that the operator made."""
    notes: list[str] = field(default_factory=list)
    """What could not be read."""


def forest(found: Found, *, detail: bool = False) -> list[Node]:
    """One tree per object, vThings below their ThingVisor; ``detail`` shows good conditions too."""
    things = [item for item in found.items if item["kind"] == "VThing"]
    visors = {_key(item) for item in found.items if item["kind"] == "ThingVisor"}
    tops = [item for item in found.items if item["kind"] != "VThing" or _visor_of(item) not in visors]
    return [_tree(item, found.children, things, detail) for item in tops]


def _tree(item: Item, children: Sequence[Item], things: Sequence[Item], detail: bool) -> Node:
    """An object with its conditions, its children and its vThings."""
    shown = [
        Node("Condition", each["type"], judge.condition_health(each), _said(each))
        for each in judge.conditions(item)
        if each["type"] not in _SUMMARY and (detail or judge.condition_health(each) is not Health.GOOD)
    ]
    below = [*shown, *_endpoints(item), *_made_for(item, children), *_things_of(item, things, detail)]
    return Node(item["kind"], _name(item), judge.health(item), _summary(item), tuple(below))


def _summary(item: Item) -> str:
    status = item.get("status", {})
    if item["metadata"].get("deletionTimestamp"):
        return "is being deleted"
    if status.get("observedGeneration", -1) == -1 and not judge.conditions(item):
        return "not yet seen by the operator"
    ready = judge.condition(item, "Ready")
    return _said(ready) if judge.is_current(item) else f"{_said(ready)} (of an earlier spec)"


def _said(found: Item) -> str:
    return ": ".join(part for part in (found.get("reason", ""), found.get("message", "")) if part)


def _endpoints(item: Item) -> Iterator[Node]:
    for endpoint in item.get("status", {}).get("endpoints") or ():
        url = endpoint.get("external") or endpoint.get("internal", "")
        yield Node("Endpoint", url, note=f"credentials in Secret {endpoint.get('secretName', '')}")


def _made_for(item: Item, children: Sequence[Item]) -> Iterator[Node]:
    """Deployments with their pods, and Services."""
    own = [child for child in children if child["metadata"].get("labels", {}).get(OWNER_UID) == item["metadata"]["uid"]]
    pods = [_pod(child) for child in own if child["kind"] == "Pod"]
    for child in own:
        if child["kind"] == "Deployment":
            ready = f"{child.get('status', {}).get('readyReplicas', 0)}/{child['spec'].get('replicas', 1)} ready"
            yield Node("Deployment", _bare(child), judge.deployment_health(child), ready, tuple(pods))
        elif child["kind"] == "Service":
            ports = ", ".join(str(port["port"]) for port in child["spec"].get("ports", ()))
            yield Node("Service", _bare(child), note=f"{child['spec'].get('type', 'ClusterIP')} {ports}")


def _pod(pod: Item) -> Node:
    statuses = judge.containers(pod)
    ready = f"{sum(bool(each.get('ready')) for each in statuses)}/{len(pod['spec']['containers'])} ready"
    restarts = sum(each.get("restartCount", 0) for each in statuses)
    facts = [pod.get("status", {}).get("phase", ""), ready, f"on {pod['spec'].get('nodeName', 'no node yet')}"]
    facts += [f"{restarts} restarts"] if restarts else []
    facts += [each["state"]["waiting"]["reason"] for each in statuses if each.get("state", {}).get("waiting", {})]
    return Node("Pod", _bare(pod), judge.pod_health(pod), ", ".join(facts))


def _things_of(item: Item, things: Iterable[Item], detail: bool) -> Iterator[Node]:
    """The vThings of a ThingVisor (objects) or of a VSilo (its status)."""
    if item["kind"] == "ThingVisor":
        for thing in things:
            if _visor_of(thing) == _key(item):
                yield _tree(thing, (), (), detail=False)
    elif item["kind"] == "VSilo":
        for state in item.get("status", {}).get("vThings") or ():
            said = ": ".join(part for part in (state["state"], state.get("message", "")) if part)
            yield Node("vThing", state["id"], _ATTACHMENT.get(state["state"], Health.BAD), said)


def _key(item: Item) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _visor_of(thing: Item) -> tuple[str, str]:
    return thing["metadata"]["namespace"], thing["spec"]["id"].partition("/")[0]


def _name(item: Item) -> str:
    name = "/".join(filter(None, _key(item)))
    return f"{name} ({item['spec']['id']})" if item["kind"] == "VThing" else name


def _bare(item: Item) -> str:
    return str(item["metadata"]["name"])


def draw(nodes: Iterable[Node], *, colour: bool) -> Iterator[str]:
    """The lines of the trees."""
    for node in nodes:
        yield _line(node, colour)
        yield from _branches(node.children, "", colour)


def _branches(nodes: Sequence[Node], indent: str, colour: bool) -> Iterator[str]:
    for number, node in enumerate(nodes):
        last = number == len(nodes) - 1
        yield f"{indent}{'└─' if last else '├─'} {_line(node, colour)}"
        yield from _branches(node.children, indent + ("   " if last else "│  "), colour)


def _line(node: Node, colour: bool) -> str:
    mark = f"\x1b[{_COLOURS[node.health]}m{node.health.value}\x1b[0m" if colour else node.health.value
    return f"{mark} {node.kind} {node.name}" + (f"  {_one_line(node.note)}" if node.note else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def count(nodes: Iterable[Node]) -> Mapping[Health, int]:
    """How many of the top nodes are in which health."""
    tally = dict.fromkeys(Health, 0)
    for node in nodes:
        tally[node.health] += 1
    return tally
