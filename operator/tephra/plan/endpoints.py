"""Where a tenant connects: the URLs of a vSilo's ports, inside and outside the cluster, from its live Service."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from tephra.api.conditions import Reason, Type
from tephra.api.flavour import BrokerPort, FlavourSpec
from tephra.api.vsilo import VSiloSpec
from tephra.plan import silo_children as made
from tephra.plan.base import Object, World
from tephra.plan.children import live
from tephra.plan.conditions import Finding, mending, working
from tephra.plan.pod_state import is_current

_NODE_ADDRESSES = ("ExternalIP", "InternalIP")


def live_service(owner: Object, world: World) -> Object | None:
    """The vSilo's Service as the cluster holds it."""
    return live(world, "Service", made.name_of(owner), owner)


def external_hosts(spec: VSiloSpec, service: Object | None, world: World) -> list[str]:
    """Names and addresses by which clients outside the cluster call the broker; its certificate has to hold them."""
    if spec.exposure == "NodePort":
        hosts = [world.settings.external_address] if world.settings.external_address else _node_hosts(world)
        return [*hosts, *(["127.0.0.1", "localhost"] if any(map(_is_loopback, hosts)) else [])]
    if spec.exposure == "LoadBalancer":
        return list(_balancer_hosts(service))
    return []


def status(owner: Object, spec: VSiloSpec, flavour: FlavourSpec, world: World) -> dict[str, Any]:
    """`status.endpoint` (the first port) and `status.endpoints` (all of them)."""
    service = live_service(owner, world)
    host = next(iter(external_hosts(spec, service, world)), "")
    endpoints = [_endpoint(owner, spec, port, service, host, world) for port in flavour.broker.ports]
    return {"endpoint": endpoints[0], "endpoints": endpoints}


def finding(owner: Object, spec: VSiloSpec, flavour: FlavourSpec, world: World) -> Finding:
    """Whether the Service is as asked for and has its addresses; bears on the summary only."""
    service = live_service(owner, world)
    if service is None or not is_current(service, made.service(owner, spec, flavour)):
        return working(Type.READY, Reason.PROGRESSING, "the Service is being brought up to date")
    if spec.exposure == "LoadBalancer" and not external_hosts(spec, service, world):
        message = f"Service {made.name_of(owner)} has no address yet; the cluster's load balancer has to give it one"
        return mending(Type.READY, Reason.PROGRESSING, message)
    return Finding(Type.READY, Reason.READY)


def _endpoint(
    owner: Object, spec: VSiloSpec, port: BrokerPort, service: Object | None, host: str, world: World
) -> dict[str, str]:
    inside = f"{made.name_of(owner)}.{owner['metadata']['namespace']}.svc.{world.settings.cluster_domain}"
    outside = _outside_port(spec, port, service)
    found = {
        "protocol": port.protocol,
        "internal": f"{port.protocol}://{inside}:{port.port}",
        "secretName": made.credentials_name(owner),
    }
    return found | ({"external": f"{port.protocol}://{_in_url(host)}:{outside}"} if host and outside else {})


def _outside_port(spec: VSiloSpec, port: BrokerPort, service: Object | None) -> int | None:
    if spec.exposure == "LoadBalancer":
        return port.port
    ports: list[Mapping[str, Any]] = ((service or {}).get("spec") or {}).get("ports") or []
    return next((each.get("nodePort") for each in ports if each.get("name") == port.name), None)


def _node_hosts(world: World) -> list[str]:
    """The address of the first node that has one, by name, so that it stays the same."""
    for kind in _NODE_ADDRESSES:
        for node in sorted(world.all("Node"), key=lambda each: str(each["metadata"]["name"])):
            for address in (node.get("status") or {}).get("addresses") or ():
                if address["type"] == kind:
                    return [str(address["address"])]
    return []


def _balancer_hosts(service: Object | None) -> Iterator[str]:
    balancer = ((service or {}).get("status") or {}).get("loadBalancer") or {}
    for ingress in balancer.get("ingress") or ():
        if host := ingress.get("hostname") or ingress.get("ip"):
            yield str(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
