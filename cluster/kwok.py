"""Simulated nodes, when asked for: kwok plays their kubelets, so pods on them never run.

They carry the label `type=kwok` and a taint, so that nothing lands on them by accident.
"""

from cluster.build import KWOK_STAGES
from cluster.component import Component
from cluster.kubeapi import Object
from cluster.spec import Cluster

TAINT = "kwok.x-k8s.io/node"


def components(cluster: Cluster) -> list[Component]:
    """The kwok process if the cluster has simulated nodes."""
    if not cluster.kwok_nodes:
        return []
    flags = (
        f"--kubeconfig={cluster.pki / 'kwok.kubeconfig'}",
        f"--config={cluster.programs / KWOK_STAGES}",
        f"--manage-nodes-with-annotation-selector={TAINT}=fake",
        "--node-lease-duration-seconds=40",
        "--cidr=10.245.0.0/16",
    )
    return [Component("kwok", (str(cluster.programs / "kwok"), *flags), cluster.hub, needs_api=True)]


def nodes(cluster: Cluster) -> list[Object]:
    """The simulated Node objects."""
    return [node(index) for index in range(cluster.kwok_nodes)]


def node(index: int) -> Object:
    """One simulated Node."""
    name = f"kwok-node-{index + 1}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {TAINT: "fake"},
            "labels": {"type": "kwok", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "spec": {"taints": [{"key": TAINT, "value": "fake", "effect": "NoSchedule"}]},
        "status": {
            "capacity": {"cpu": "32", "memory": "256Gi", "pods": "250"},
            "allocatable": {"cpu": "32", "memory": "256Gi", "pods": "250"},
        },
    }
