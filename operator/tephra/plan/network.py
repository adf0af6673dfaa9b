"""NetworkPolicies: nothing enters or leaves a pod of ours but what is listed here."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from tephra.api.thingvisortype import Egress
from tephra.plan.base import Object, Settings
from tephra.plan.children import Manifest, child, pod_selector

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
"""Ports of the bus URL's schemes when it names none."""


def network_policy(
    name: str, owner: Object, *, ingress: Iterable[int], egress: Iterable[Egress], settings: Settings
) -> Manifest:
    """Lets the owner's pods be called on ``ingress`` (TCP) and call the bus, DNS and ``egress``."""
    opened = [{"port": port, "protocol": "TCP"} for port in ingress]
    spec = {
        "podSelector": {"matchLabels": pod_selector(owner)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": opened}] if opened else [],
        "egress": [_dns(), _bus(settings), *map(_egress, egress)],
    }
    return child("networking.k8s.io/v1", "NetworkPolicy", name, owner, spec=spec)


def _dns() -> Manifest:
    """Any pod of the cluster on port 53: where the resolver's pods are differs from cluster to cluster."""
    ports = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    return {"to": [{"namespaceSelector": {}}], "ports": ports}


def _bus(settings: Settings) -> Manifest:
    """The bus: pods of the operator's namespace, or, when it is outside the cluster, its port anywhere."""
    url = urlsplit(settings.bus_url)
    rule: Manifest = {"ports": [{"port": url.port or DEFAULT_PORTS[url.scheme], "protocol": "TCP"}]}
    if (url.hostname or "").endswith(f".{settings.namespace}.svc.{settings.cluster_domain}"):
        rule["to"] = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}}}]
    return rule


def _egress(entry: Egress) -> Manifest:
    rule: Manifest = {"to": [{"ipBlock": {"cidr": entry.cidr}}]}
    protocol = entry.protocol or "TCP"
    rule["ports"] = [{"port": port, "protocol": protocol} for port in entry.ports] or [{"protocol": protocol}]
    return rule
