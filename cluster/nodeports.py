"""Opens the NodePorts of the cluster's Services on the host's loopback, under the same numbers.

It follows the Services and rewrites the forwarder's file of routes (`controlplane.write_routes`);
the forwarder does the rest. TCP only. `cluster.agent` runs `follow_services`.
"""

from cluster.controlplane import write_routes
from cluster.kubeapi import Api, Object
from cluster.spec import Cluster, require


def node_ports(service: Object) -> frozenset[int]:
    """TCP NodePorts of a Service."""
    ports = service["spec"].get("ports", [])
    return frozenset(p["nodePort"] for p in ports if p.get("nodePort") and p.get("protocol", "TCP") == "TCP")


def follow_services(cluster: Cluster, api: Api) -> None:
    """Keep the routes equal to the Services for ever."""
    known: dict[str, frozenset[int]] = {}
    written: frozenset[int] | None = None
    for kind, found in api.watch("/api/v1/services"):
        if kind == "LIST":
            known = {service["metadata"]["uid"]: node_ports(service) for service in found["items"]}
        elif kind == "DELETED":
            known.pop(found["metadata"]["uid"], None)
        else:
            known[found["metadata"]["uid"]] = node_ports(found)
        wanted = frozenset().union(*known.values())
        if wanted != written:
            write_routes(require(cluster.name), sorted(wanted))
            written = wanted
