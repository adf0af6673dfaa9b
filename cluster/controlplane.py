"""The control plane's components and their configuration: etcd, API server, controllers, scheduler.

They run in the hub namespace. Flags that are not upstream's default are there to shorten waits on
one small machine (no fsync, no leader election, higher client limits) or to write the audit log.
Pure but for `write_config`.
"""

import json
from pathlib import Path

from cluster.component import Component
from cluster.spec import API_PORT_INSIDE, HUB_ADDRESS, SERVICE_CIDR, Cluster, write_atomically

ETCD_URL = "http://127.0.0.1:2379"  # inside the hub, which only the control plane shares
CLIENT_LIMITS = ("--kube-api-qps=300", "--kube-api-burst=600")

AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
}


def write_config(cluster: Cluster) -> None:
    """Write the files that the components' flags name."""
    write_atomically(cluster.dir / "audit-policy.json", json.dumps(AUDIT_POLICY))
    if not routes_file(cluster).exists():
        write_routes(cluster, [])


def routes_file(cluster: Cluster) -> Path:
    """What the forwarder reads."""
    return cluster.dir / "routes.json"


def write_routes(cluster: Cluster, nodeports: list[int]) -> None:
    """Tell the forwarder what the host's loopback carries: the API server and these NodePorts."""
    api = {
        "listen": f"127.0.0.1:{cluster.api_port}",
        "targets": [f"{HUB_ADDRESS}:{API_PORT_INSIDE}"],
    }
    routes = [api] + [
        {"listen": f"127.0.0.1:{port}", "targets": [f"{node.address}:{port}" for node in cluster.members]}
        for port in nodeports
    ]
    write_atomically(routes_file(cluster), json.dumps(routes))


def components(cluster: Cluster) -> list[Component]:
    """The control plane's programs, in the order of their start."""

    def program(name: str, *flags: str, needs_api: bool = False) -> Component:
        return Component(name, (str(cluster.programs / name), *flags), cluster.hub, needs_api=needs_api)

    return [
        program(
            "etcd",
            f"--data-dir={cluster.dir / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD_URL}",
            f"--advertise-client-urls={ETCD_URL}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
        ),
        forward(cluster),
        program("kube-apiserver", *_apiserver_flags(cluster)),
        program("kube-controller-manager", *_controller_manager_flags(cluster), needs_api=True),
        program("kube-scheduler", *_client_flags(cluster, "scheduler"), needs_api=True),
    ]


def forward(cluster: Cluster) -> Component:
    """The program that lets the host's loopback reach the cluster (cluster/go/forward)."""
    flags = (f"--dial-netns=/run/netns/{cluster.hub}", f"--routes={routes_file(cluster)}")
    return Component("forward", (str(cluster.programs / "forward"), *flags), None)


def _apiserver_flags(cluster: Cluster) -> list[str]:
    pki = cluster.pki
    ports = cluster.nodeports
    return [
        f"--advertise-address={HUB_ADDRESS}",
        f"--bind-address={HUB_ADDRESS}",
        f"--secure-port={API_PORT_INSIDE}",
        f"--etcd-servers={ETCD_URL}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--service-node-port-range={ports.start}-{ports.stop - 1}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        "--kubelet-preferred-address-types=InternalIP",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'kubelet-client.key'}",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        f"--audit-policy-file={cluster.dir / 'audit-policy.json'}",
        f"--audit-log-path={cluster.audit_log}",
        "--audit-log-maxsize=2000",
        "--audit-log-maxbackup=1",
        "--profiling=false",
    ]


def _client_flags(cluster: Cluster, client: str) -> list[str]:
    kubeconfig = cluster.pki / f"{client}.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
        *CLIENT_LIMITS,
    ]


def _controller_manager_flags(cluster: Cluster) -> list[str]:
    pki = cluster.pki
    return [
        *_client_flags(cluster, "controller-manager"),
        "--use-service-account-credentials",
        "--allocate-node-cidrs=false",  # the nodes' pod ranges are fixed: see spec.Node
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'sa.key'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
    ]
