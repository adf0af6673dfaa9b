"""The objects that every cluster starts with: cluster DNS and the default StorageClass.

Plain data; `cluster.setup` applies it. The rights and the probes of CoreDNS are upstream's.
"""

from typing import Any

from cluster.kubeapi import Object
from cluster.spec import CLUSTER_DOMAIN, DNS_VIP

COREDNS_IMAGE = "localhost/tephra/coredns:1.15.0"
STORAGE_CLASS = "local"
PROVISIONER = "tephra.dev/local-volumes-testpart"

# No forward plugin: the cluster reaches no name server, so other names are refused at once.
COREFILE = f"""\
.:53 {{
    errors
    health {{
        lameduck 1s
    }}
    ready
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    prometheus :9153
    loadbalance
}}
"""


def base() -> list[Object]:
    """Every object, in an order in which each finds what it refers to."""
    return [storage_class(), *dns_rights(), *dns()]


def storage_class() -> Object:
    """The default class: directories on the disk of the node that the pod is placed on."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


def dns_rights() -> list[Object]:
    """Service account and role of CoreDNS."""
    name = "system:coredns"
    watch = ["list", "watch"]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata("coredns")},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": watch},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watch},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
        },
    ]


def dns() -> list[Object]:
    """CoreDNS itself, at the address that the kubelets write into pods."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": _metadata("coredns"),
            "data": {"Corefile": COREFILE},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata("kube-dns"),
            "spec": {
                "clusterIP": DNS_VIP,
                "selector": {"k8s-app": "kube-dns"},
                "ports": [_port("dns", "UDP"), _port("dns-tcp", "TCP")],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _metadata("coredns"),
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
                "template": {"metadata": {"labels": {"k8s-app": "kube-dns"}}, "spec": dns_pod()},
            },
        },
    ]


def dns_pod() -> dict[str, Any]:
    """Pod of CoreDNS: unprivileged, bound to port 53 by a safe sysctl."""
    container = {
        "name": "coredns",
        "image": COREDNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {"requests": {"cpu": "20m", "memory": "70Mi"}, "limits": {"memory": "170Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 5},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    return {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }


def _metadata(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}


def _port(name: str, protocol: str) -> dict[str, Any]:
    return {"name": name, "port": 53, "protocol": protocol, "targetPort": 53}
