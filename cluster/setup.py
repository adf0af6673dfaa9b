"""Brings a cluster up: files, namespaces, groups, supervisor, first images and objects.

Every step keeps what is there, so `up` also mends: after a killed supervisor, a half way start, or
for more nodes. `cluster.cli` calls `up`; `cluster.teardown` undoes it.
"""

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cluster import (
    build,
    cgroups,
    controlplane,
    doctor,
    kwok,
    limits,
    load,
    manifests,
    netns,
    node,
    pki,
    ports,
    procs,
    supervisor,
    testparts,
)
from cluster.build import say
from cluster.component import Component
from cluster.errors import ClusterError
from cluster.kubeapi import Api, Object, wait_until
from cluster.spec import (
    CLUSTER_DOMAIN,
    DNS_VIP,
    MAX_NODES,
    Cluster,
    Node,
    check_name,
    clusters,
    clusters_dir,
    locked,
    save,
)
from cluster.spec import load as load_spec

PATIENCE = 90.0


def up(name: str, nodes: int, kwok_nodes: int, labels: dict[str, dict[str, str]]) -> Cluster:
    """Bring the cluster up, or up to date; returns it when pods can run and names resolve."""
    began = time.monotonic()
    doctor.require_healthy()
    limits.raise_inotify()
    bin_dir = build.assets(kwok=kwok_nodes > 0)
    cluster = claim(name, nodes, kwok_nodes, labels)
    with locked(cluster.dir / "up.lock"):
        check_port(cluster)
        with phase("namespaces, keys and files"):
            changed = prepare(cluster, bin_dir)
        supervise(cluster, changed)
        with phase("control plane, nodes and cluster DNS"):
            fill(cluster, bin_dir)
    say(f"cluster {name!r} is up after {time.monotonic() - began:.1f} s")
    return cluster


@contextmanager
def phase(what: str) -> Iterator[None]:
    """Print what is being done and how long it took."""
    began = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - began:.1f} s")


def claim(name: str, nodes: int, kwok_nodes: int, labels: dict[str, dict[str, str]]) -> Cluster:
    """The recorded cluster brought to the wanted size, or a new one with ports of its own."""
    check_name(name)
    if not 1 <= nodes <= MAX_NODES:
        raise ClusterError(f"--nodes {nodes}: a cluster has 1 to {MAX_NODES} nodes")
    unknown = sorted(labels.keys() - {f"node-{i + 1}" for i in range(nodes)})
    if unknown:
        raise ClusterError(f"--node-label names {', '.join(unknown)}; with --nodes {nodes} there is no such node")
    with locked(clusters_dir() / ".lock"):
        cluster = load_spec(name)
        if cluster is None:
            slot = ports.pick_slot(other.slot for other in clusters().values())
            cluster = Cluster(name, slot, ports.api_port(slot), nodes, kwok_nodes, labels)
        elif nodes < cluster.nodes:
            raise ClusterError(
                f"cluster {name!r} has {cluster.nodes} nodes and cannot shrink to {nodes}; "
                f"start anew: python3 -m cluster down --name {name}"
            )
        else:
            wanted_kwok = max(kwok_nodes, cluster.kwok_nodes)
            merged = {**cluster.node_labels, **labels}
            cluster = replace(cluster, nodes=nodes, kwok_nodes=wanted_kwok, node_labels=merged)
        save(cluster)
    return cluster


def check_port(cluster: Cluster) -> None:
    """ClusterError if something else took the API server's host port while the cluster was down."""
    if not procs.marked(cluster.dir) and not ports.is_free(cluster.api_port):
        raise ClusterError(
            f"127.0.0.1:{cluster.api_port}, the API server's port of cluster {cluster.name!r}, is in use by another "
            f"program; stop that, or get another port: python3 -m cluster down --name {cluster.name}, then up"
        )


def supervise(cluster: Cluster, changed: list[Node]) -> None:
    """Have a supervisor run what the cluster consists of now; kubelets of `changed` nodes start again."""
    if supervisor.is_running(cluster):
        supervisor.ask(cluster, {"do": "reload"})
        for member in changed:
            supervisor.ask(cluster, {"do": "kill", "component": f"{member.name}/kubelet"})
    else:
        supervisor.start(cluster, testparts.REPOSITORY)


def prepare(cluster: Cluster, bin_dir: Path) -> list[Node]:
    """Make everything that has to be there before a component starts; returns nodes whose share changed."""
    changed = []
    cluster.logs.mkdir(exist_ok=True)
    link_programs(cluster, bin_dir)
    pki.make_cluster_pki(cluster)
    controlplane.write_config(cluster)
    netns.make_hub(cluster)
    for member in cluster.members:
        pki.make_node_pki(cluster, member)
        if node.write_config(cluster, member):
            changed.append(member)
        netns.make_node(cluster, member)
        cgroups.make(member.cgroup)
        node.start_holder(cluster, member)
    netns.connect(cluster)
    return changed


def link_programs(cluster: Cluster, bin_dir: Path) -> None:
    """Point the cluster's own `bin` at the built programs, so that records name no build."""
    draft = cluster.dir / "bin.new"
    draft.unlink(missing_ok=True)
    draft.symlink_to(bin_dir)
    draft.replace(cluster.programs)


def components(cluster: Cluster) -> list[Component]:
    """Everything that the supervisor of this cluster runs."""
    return [
        *controlplane.components(cluster),
        *testparts.components(cluster),
        *(component for member in cluster.members for component in node.components(cluster, member)),
        *kwok.components(cluster),
    ]


def fill(cluster: Cluster, bin_dir: Path) -> None:
    """Load the first images, apply the first objects, and wait until the cluster works."""
    images = load.own_images(bin_dir)
    with ThreadPoolExecutor() as pool:
        loaded = [pool.submit(load_first, member, images) for member in cluster.members]
        api = Api(cluster)
        wait_for("the API server", api.ready, cluster, "kube-apiserver")
        for manifest in [*manifests.base(), *kwok.nodes(cluster)]:
            wait_for_apply(api, manifest)
        for future in loaded:
            future.result()
    wait_for("the nodes", lambda: all_ready(api, cluster.nodes + cluster.kwok_nodes), cluster, "kubelet")
    for member in cluster.members:
        if member.labels:
            wait_for_apply(api, labelled(member))
    wait_for("cluster DNS", lambda: resolves(cluster), cluster, "kubelet")


def labelled(member: Node) -> Object:
    """What is applied to a Node so that it has the labels asked for, also if it was there before."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": member.name, "labels": member.labels}}


def load_first(member: Node, images: list[Path]) -> None:
    """Load the images without which no pod starts."""
    load.wait_for_containerd(member)
    for image in images:
        load.load_into(member, image)


def wait_for(what: str, condition: Callable[[], bool], cluster: Cluster, component: str) -> None:
    """Wait for a part of the cluster; ClusterError says where to look if it does not come."""
    if not wait_until(condition, PATIENCE):
        raise ClusterError(
            f"cluster {cluster.name!r}: {what} did not become ready in {PATIENCE:.0f} s; "
            f"look at: python3 -m cluster logs {component} --name {cluster.name}"
        )


def wait_for_apply(api: Api, manifest: Object) -> None:
    """Apply an object; a server that just started may not know its namespace yet."""
    errors: list[Exception] = []

    def applied() -> bool:
        try:
            api.apply(manifest)
        except Exception as error:
            errors.append(error)
            return False
        return True

    if not wait_until(applied, 20):
        raise ClusterError(f"cannot apply {manifest['kind']} {manifest['metadata']['name']}: {errors[-1]}")


def all_ready(api: Api, count: int) -> bool:
    """Whether `count` nodes are Ready."""
    items = api.request("GET", "/api/v1/nodes")["items"]
    return sum(is_ready(item) for item in items) >= count


def is_ready(item: Object) -> bool:
    """Whether a Node says that it is Ready."""
    conditions = item.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def resolves(cluster: Cluster) -> bool:
    """Whether every node gets the API server's address from cluster DNS: a real look-up each."""
    return all(look_up(member.netns, f"kubernetes.default.svc.{CLUSTER_DOMAIN}") for member in cluster.members)


def look_up(namespace: str, name: str, seconds: float = 0.5) -> bool:
    """Ask cluster DNS for an A record over UDP (RFC 1035); whether it answered with one."""
    identity = secrets.token_bytes(2)
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = identity + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"
    with netns.inside(namespace):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with client:
        client.settimeout(seconds)
        try:
            client.sendto(query, (DNS_VIP, 53))
            answer = client.recv(512)
        except OSError:
            return False
    no_error = answer[3] & 0x0F == 0
    return answer[:2] == identity and no_error and int.from_bytes(answer[6:8], "big") > 0
