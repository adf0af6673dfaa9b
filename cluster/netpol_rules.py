"""Compiles NetworkPolicies into nftables rules. Pure: `cluster.netpol_testpart` does the I/O.

A pod that a policy selects gets one chain per direction, reached by its address through a verdict
map. A rule that matches returns (the other direction is checked next); the chain's end rejects, so
that a refused client knows at once. Only the node of a pod enforces its policies. Source of the
meaning: Kubernetes API reference, NetworkPolicy v1 (networking.k8s.io).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TABLE = "tephra_netpol_testpart"
REJECT = "reject with icmp type admin-prohibited"
PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}

Policy = Mapping[str, Any]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Pod:
    """What the rules need of a pod; `ports` are (name, protocol, number) of its containers."""

    namespace: str
    name: str
    node: str
    address: str
    labels: frozenset[tuple[str, str]] = frozenset()
    ports: frozenset[tuple[str, str, int]] = frozenset()


@dataclass(frozen=True)
class World:
    """Everything that rules depend on: running pods with an address, namespaces' labels, policies."""

    pods: tuple[Pod, ...]
    namespaces: Mapping[str, Labels]
    policies: tuple[Policy, ...]


@dataclass
class Ruleset:
    """Rules of one node: chains by name, and the chain of each selected address per direction."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ingress: dict[str, str] = field(default_factory=dict)
    egress: dict[str, str] = field(default_factory=dict)


def selects(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a label selector matches; the empty selector matches everything."""
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    return all(labels.get(k) == v for k, v in wanted.items()) and all(holds(e, labels) for e in expressions)


def holds(expression: Mapping[str, Any], labels: Labels) -> bool:
    """Whether one `matchExpressions` entry matches."""
    present = expression["key"] in labels
    among = present and labels[expression["key"]] in (expression.get("values") or [])
    results = {"In": among, "NotIn": not among, "Exists": present, "DoesNotExist": not present}
    return results[expression["operator"]]


def directions(policy: Policy) -> list[str]:
    """`Ingress`, `Egress` or both; without policyTypes, egress counts only if it is given."""
    spec = policy["spec"]
    default = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    return list(spec.get("policyTypes") or default)


def subjects(policy: Policy, world: World) -> list[Pod]:
    """The pods a policy is about."""
    selector, namespace = policy["spec"].get("podSelector") or {}, policy["metadata"]["namespace"]
    return [p for p in world.pods if p.namespace == namespace and selects(selector, dict(p.labels))]


def peer_pods(peer: Mapping[str, Any], namespace: str, world: World) -> list[Pod]:
    """The pods that a peer of selectors means; without namespaceSelector, those of the policy's namespace."""
    if "namespaceSelector" in peer:
        chosen = {n for n, labels in world.namespaces.items() if selects(peer["namespaceSelector"], labels)}
    else:
        chosen = {namespace}
    selector = peer.get("podSelector") or {}
    return [p for p in world.pods if p.namespace in chosen and selects(selector, dict(p.labels))]


def braces(items: Iterable[object]) -> str:
    """An anonymous nftables set."""
    return "{ " + ", ".join(map(str, items)) + " }"


def block_match(block: Mapping[str, Any], side: str) -> str:
    """Match of an ipBlock; '' if it is of IPv6, which these pods do not speak."""
    if ":" in block["cidr"]:
        return ""
    excluded = block.get("except") or []
    return f"ip {side} {block['cidr']}" + (f" ip {side} != {braces(excluded)}" if excluded else "")


def port_match(port: Mapping[str, Any], named: Iterable[tuple[str, str, int]]) -> str | None:
    """Match of a port entry; `named` resolves a port's name. None if no port has that name."""
    protocol = port.get("protocol") or "TCP"
    number = port.get("port")
    if number is None:
        return f"meta l4proto {PROTOCOLS[protocol]}"
    if isinstance(number, str):
        numbers = sorted({n for name, p, n in named if (name, p) == (number, protocol)})
        return f"{PROTOCOLS[protocol]} dport {braces(numbers)}" if numbers else None
    last = port.get("endPort") or number
    return f"{PROTOCOLS[protocol]} dport {number}" + (f"-{last}" if last != number else "")


def port_matches(rule: Mapping[str, Any], named: Iterable[tuple[str, str, int]]) -> list[str]:
    """Matches of a rule's ports; [''] (any port) if it has none."""
    ports = rule.get("ports")
    if not ports:
        return [""]
    names = list(named)
    return [match for port in ports if (match := port_match(port, names)) is not None]


def rule_lines(rule: Mapping[str, Any], direction: str, pod: Pod, policy: Policy, world: World) -> list[str]:
    """The nftables rules of one ingress or egress rule for one pod."""
    peers = rule.get("from" if direction == "Ingress" else "to")
    side = "saddr" if direction == "Ingress" else "daddr"
    if not peers:
        named = pod.ports if direction == "Ingress" else {port for p in world.pods for port in p.ports}
        return [f"{ports} return".strip() for ports in port_matches(rule, named)]
    lines = []
    for peer in peers:
        if "ipBlock" in peer:
            match = block_match(peer["ipBlock"], side)
            named = pod.ports if direction == "Ingress" else frozenset()
            lines += [f"{match} {ports} return" for ports in port_matches(rule, named) if match]
        else:
            found = peer_pods(peer, policy["metadata"]["namespace"], world)
            lines += pod_lines(rule, direction, pod, found, side)
    return lines


def pod_lines(rule: Mapping[str, Any], direction: str, pod: Pod, peers: list[Pod], side: str) -> list[str]:
    """Rules for peers that are pods. A named egress port is the peer's, so peers are grouped by what it means."""
    groups: dict[tuple[str, ...], set[str]] = {}
    for peer in peers:
        matches = port_matches(rule, pod.ports if direction == "Ingress" else peer.ports)
        groups.setdefault(tuple(matches), set()).add(peer.address)
    return [
        f"ip {side} {braces(sorted(addresses))} {ports} return"
        for matches, addresses in sorted(groups.items())
        for ports in matches
    ]


def chain_name(direction: str, pod: Pod) -> str:
    """Name of a pod's chain."""
    return f"{direction.lower()}_{pod.address.replace('.', '_')}"


def compile_rules(world: World, nodes: Iterable[str]) -> dict[str, Ruleset]:
    """The rules of every node."""
    rulesets = {node: Ruleset() for node in nodes}
    lines: dict[tuple[str, Pod], list[str]] = {}
    for policy in world.policies:
        for pod in subjects(policy, world):
            for direction in directions(policy):
                rules = policy["spec"].get(direction.lower()) or []
                found = [line for rule in rules for line in rule_lines(rule, direction, pod, policy, world)]
                lines.setdefault((direction, pod), []).extend(found)
    for (direction, pod), found in lines.items():
        if pod.node in rulesets:
            name = chain_name(direction, pod)
            rulesets[pod.node].chains[name] = (*dict.fromkeys(found), REJECT)
            chosen = rulesets[pod.node].ingress if direction == "Ingress" else rulesets[pod.node].egress
            chosen[pod.address] = name
    return rulesets


def skeleton() -> list[str]:
    """Statements that make an empty table, whatever was there."""
    return [
        f"add table inet {TABLE}",
        f"delete table inet {TABLE}",
        f"add table inet {TABLE}",
        f"add map inet {TABLE} ingress {{ type ipv4_addr : verdict ; }}",
        f"add map inet {TABLE} egress {{ type ipv4_addr : verdict ; }}",
        f"add chain inet {TABLE} forward {{ type filter hook forward priority filter ; policy accept ; }}",
        f"add rule inet {TABLE} forward ct state established,related accept",
        f"add rule inet {TABLE} forward ip saddr vmap @egress",
        f"add rule inet {TABLE} forward ip daddr vmap @ingress",
    ]


def difference(old: Ruleset | None, new: Ruleset) -> str:
    """One nftables transaction that turns the table from `old` (None: unknown) into `new`; '' if equal."""
    before = old or Ruleset()
    lines = [] if old else skeleton()
    for direction in ("ingress", "egress"):
        was: dict[str, str] = getattr(before, direction)
        wanted: dict[str, str] = getattr(new, direction)
        gone = sorted(was.keys() - wanted.keys())
        lines += [f"delete element inet {TABLE} {direction} {{ {address} }}" for address in gone]
    lines += [
        f"flush chain inet {TABLE} {name}" for name in before.chains if new.chains.get(name) != before.chains[name]
    ]
    lines += [f"delete chain inet {TABLE} {name}" for name in before.chains if name not in new.chains]
    lines += [f"add chain inet {TABLE} {name}" for name in new.chains if name not in before.chains]
    for name, rules in new.chains.items():
        if before.chains.get(name) != rules:
            lines += [f"add rule inet {TABLE} {name} {rule}" for rule in rules]
    for direction in ("ingress", "egress"):
        was, wanted = getattr(before, direction), getattr(new, direction)
        fresh = sorted(wanted.keys() - was.keys())
        lines += [f"add element inet {TABLE} {direction} {{ {a} : jump {wanted[a]} }}" for a in fresh]
    return "".join(f"{line}\n" for line in lines)
