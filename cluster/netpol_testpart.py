"""Test part: enforces NetworkPolicies with nftables, in the place of a CNI vendor's enforcer.

One process for all nodes of a cluster, a component of the supervisor. It follows pods, namespaces
and policies, and it is told each new pod's address by the CNI plugin `netpol-cni`, which lets the
pod start only when this process has put its rules in force. Rules outlive the process; a new one
puts all of them in force anew, in one transaction per node. `cluster.netpol_rules` says what the
rules are. A connection that is established stays allowed when a policy changes.
"""

import json
import queue
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cluster import threads
from cluster.kubeapi import Api, ApiError, Object
from cluster.netpol_rules import Pod, Policy, Ruleset, World, compile_rules, difference
from cluster.spec import Cluster, require

PODS = "/api/v1/pods"
NAMESPACES = "/api/v1/namespaces"
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
Key = tuple[str, str]


def socket_path(cluster: Cluster) -> Path:
    """Where the CNI plugins of all nodes announce new pods."""
    return cluster.dir / "netpol-testpart.sock"


@dataclass(frozen=True)
class Announcement:
    """A pod that has an address and waits for its rules on `connection`."""

    namespace: str
    name: str
    uid: str
    address: str
    connection: socket.socket


@dataclass
class Cache:
    """What was seen: objects by (namespace, name), and addresses announced by pods' uid."""

    pods: dict[Key, Object] = field(default_factory=dict)
    namespaces: dict[Key, Object] = field(default_factory=dict)
    policies: dict[Key, Object] = field(default_factory=dict)
    announced: dict[str, str] = field(default_factory=dict)

    def of(self, path: str) -> dict[Key, Object]:
        """The part that mirrors a collection."""
        return {PODS: self.pods, NAMESPACES: self.namespaces, POLICIES: self.policies}[path]

    def update(self, path: str, kind: str, found: Object) -> None:
        """Take in one watch event, or the whole collection for LIST."""
        part = self.of(path)
        if kind == "LIST":
            part.clear()
            part.update({key_of(item): item for item in found["items"]})
        elif is_stale(found, part.get(key_of(found))):
            return
        elif kind == "DELETED":
            part.pop(key_of(found), None)
        else:
            part[key_of(found)] = found
        if path == PODS and kind in ("LIST", "DELETED"):
            alive = {pod["metadata"]["uid"] for pod in self.pods.values()}
            self.announced = {uid: address for uid, address in self.announced.items() if uid in alive}

    def world(self) -> World:
        """The snapshot that rules are compiled from."""
        pods = [pod for item in self.pods.values() if (pod := self.pod(item))]
        labels = {name: item["metadata"].get("labels", {}) for (_, name), item in self.namespaces.items()}
        policies: tuple[Policy, ...] = tuple(self.policies.values())
        return World(tuple(pods), labels, policies)

    def pod(self, item: Object) -> Pod | None:
        """What rules need of a pod; None if it has no address of its own now."""
        status, spec, metadata = item.get("status", {}), item["spec"], item["metadata"]
        address = self.announced.get(metadata["uid"]) or status.get("podIP")
        ended = status.get("phase") in ("Succeeded", "Failed")
        if ended or not address or spec.get("hostNetwork") or not spec.get("nodeName"):
            return None
        containers = [*spec["containers"], *spec.get("initContainers", [])]
        ports = frozenset(
            (port.get("name", ""), port.get("protocol", "TCP"), int(port["containerPort"]))
            for container in containers
            for port in container.get("ports", [])
        )
        labels = frozenset(metadata.get("labels", {}).items())
        return Pod(metadata["namespace"], metadata["name"], spec["nodeName"], address, labels, ports)


def key_of(item: Object) -> Key:
    """Key of an object in the cache."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def is_stale(found: Object, known: Object | None) -> bool:
    """Whether `found` is older than what is known: a pod was fetched before its watch event came."""
    return known is not None and version(found) < version(known)


def version(item: Object) -> int:
    """Resource version; since Kubernetes 1.35 their order is defined."""
    return int(item["metadata"]["resourceVersion"])


class Enforcer:
    """The loop: take what arrived, compile, put the difference in force, release the waiting pods."""

    def __init__(self, cluster: Cluster, api: Api) -> None:
        self.cluster = cluster
        self.api = api
        self.cache = Cache()
        self.arrivals: queue.SimpleQueue[tuple[str, str, Object] | Announcement] = queue.SimpleQueue()
        self.in_force: dict[str, Ruleset] = {}
        self.compiled: tuple[World, frozenset[str]] | None = None

    def follow(self, path: str) -> None:
        """Body of a watching thread."""
        for kind, found in self.api.watch(path):
            self.arrivals.put((path, kind, found))

    def listen(self, server: socket.socket) -> None:
        """Body of the thread that takes announcements."""
        while True:
            connection, _ = server.accept()
            connection.settimeout(5)
            try:
                said = json.loads(connection.makefile().readline())
                fields = (said["namespace"], said["name"], said["uid"], said["address"])
            except (OSError, ValueError, KeyError) as error:
                log(f"bad announcement: {error!r}")
                connection.close()
                continue
            self.arrivals.put(Announcement(*fields, connection))

    def run(self) -> None:
        """Enforce for ever; takes announcements only after everything was seen and put in force once."""
        missing = {PODS, NAMESPACES, POLICIES}
        for path in sorted(missing):
            threads.start(self.follow, path)
        while missing:
            path, kind, found = self.next_event()
            self.cache.update(path, kind, found)
            missing.discard(path)
        self.enforce()
        server = listening(socket_path(self.cluster))
        threads.start(self.listen, server)
        while True:
            self.step()

    def next_event(self) -> tuple[str, str, Object]:
        """The next watch event, before announcements are taken."""
        arrived = self.arrivals.get()
        assert not isinstance(arrived, Announcement)
        return arrived

    def step(self) -> None:
        """Take everything that has arrived, at least one thing, and act on it."""
        waiting = []
        for arrived in self.arrived():
            if isinstance(arrived, Announcement):
                self.take(arrived)
                waiting.append(arrived)
            else:
                self.cache.update(*arrived)
        self.enforce()
        for announcement in waiting:
            release(announcement)

    def arrived(self) -> Iterator[tuple[str, str, Object] | Announcement]:
        """Wait for one arrival, then give it and all others that are there."""
        yield self.arrivals.get()
        while not self.arrivals.empty():
            yield self.arrivals.get()

    def take(self, announcement: Announcement) -> None:
        """Note a new pod's address; fetch the pod if its watch event is not here yet."""
        others = {u: a for u, a in self.cache.announced.items() if a != announcement.address}
        self.cache.announced = {**others, announcement.uid: announcement.address}
        known = self.cache.pods.get((announcement.namespace, announcement.name))
        if known is None or known["metadata"]["uid"] != announcement.uid:
            path = f"/api/v1/namespaces/{announcement.namespace}/pods/{announcement.name}"
            try:
                self.cache.update(PODS, "ADDED", self.api.request("GET", path))
            except (ApiError, OSError) as error:
                log(f"{announcement.namespace}/{announcement.name}: announced, but cannot be read: {error}")

    def enforce(self) -> None:
        """Put the difference in force on every node."""
        nodes = {node.name: node.netns for node in require(self.cluster.name).members}
        world = self.cache.world()
        if self.compiled == (world, frozenset(nodes)) and self.in_force.keys() == nodes.keys():
            return  # most events are status updates that no rule depends on
        self.compiled = world, frozenset(nodes)
        for name, wanted in compile_rules(world, nodes).items():
            script = difference(self.in_force.get(name), wanted)
            if script and apply(nodes[name], script):
                self.in_force[name] = wanted
            elif script:
                self.in_force.pop(name, None)  # unknown now: the next pass makes the whole table anew


def apply(netns: str, script: str) -> bool:
    """Run one nftables transaction in a node's network namespace; False (and a log line) if refused."""
    argv = ["nsenter", f"--net=/run/netns/{netns}", "--", "nft", "-f", "-"]
    done = subprocess.run(argv, input=script, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        log(f"{netns}: nft refused: {done.stderr.strip()}")
    return done.returncode == 0


def release(announcement: Announcement) -> None:
    """Tell the CNI plugin that the pod may start."""
    with announcement.connection as connection:
        try:
            connection.sendall(b"ok\n")
        except OSError as error:
            log(f"{announcement.namespace}/{announcement.name}: its plugin went away: {error}")


def listening(path: Path) -> socket.socket:
    """A listening unix socket at `path`."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(0o600)
    server.listen(128)
    return server


def log(line: str) -> None:
    """One line in the component's log."""
    print(line, file=sys.stderr, flush=True)


def run(cluster: Cluster) -> None:
    """Body of `python3 -m cluster netpol-testpart`."""
    Enforcer(cluster, Api(cluster, "netpol", inside=True)).run()
