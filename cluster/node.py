"""One node's components and their configuration: containerd, kubelet, kube-proxy and CNI.

A node has a mount namespace of its own in which the directories that these programs hard-code are
private (PRIVATE); a sleeping process, the holder, keeps it. `cluster.setup` calls `write_config` and
`start_holder`; the supervisor runs `components`. When the node's last process ends, all of its
mounts are gone.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

from cluster import netns, netpol_testpart, procs
from cluster.component import Component, environment
from cluster.errors import ClusterError
from cluster.spec import CLUSTER_DOMAIN, DNS_VIP, POD_CIDR, Cluster, Node, write_atomically

# Directory in the node's mount namespace → name below the node's state directory.
PRIVATE = {
    "/var/lib/kubelet": "kubelet",
    "/var/lib/containerd": "containerd",
    "/run/containerd": "containerd-run",
    "/var/lib/cni": "cni-state",
    "/var/log/pods": "pod-logs",
    "/var/log/containers": "container-logs",
}
SOCKET = "/run/containerd/containerd.sock"
CNI_PLUGINS = Path("/usr/lib/cni")
PAUSE_IMAGE = "localhost/tephra/pause:1"
MAX_PODS = 250


def holder_file(node: Node) -> Path:
    """File with the id of the process that holds the node's mount namespace."""
    return node.dir / "holder.pid"


def enter(node: Node, *argv: str) -> list[str]:
    """The argv that runs a command inside the node's namespaces (absolute paths only)."""
    holder = holder_file(node).read_text().strip()
    return ["nsenter", f"--net=/run/netns/{node.netns}", f"--mount=/proc/{holder}/ns/mnt", "--", *argv]


def start_holder(cluster: Cluster, node: Node) -> None:
    """Make the node's mount namespace and the process that keeps it, unless they are there."""
    file = holder_file(node)
    if file.exists() and int(file.read_text()) in procs.marked(cluster.dir):
        return
    if not procs.in_network_namespaces([netns.inode(node.netns) or 0]):
        shutil.rmtree(node.dir / PRIVATE["/run/containerd"], ignore_errors=True)  # of before a reboot
    binds = []
    for target, source in PRIVATE.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        (node.dir / source).mkdir(parents=True, exist_ok=True)
        binds.append(f"mount --bind {node.dir / source} {target}")
    script = " && ".join(["set -e; mount --make-rshared /", *binds, "echo ready"])
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "slave", "sh", "-c", f"{script}; exec sleep infinity >&-"],
        stdout=subprocess.PIPE,
        stderr=(cluster.logs / f"{node.name}-holder.log").open("ab"),
        env=environment(cluster),
        start_new_session=True,
        cwd="/",
    )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        words = (cluster.logs / f"{node.name}-holder.log").read_text().strip()
        raise ClusterError(f"{node.name}: cannot make its mount namespace: {words}")
    write_atomically(file, str(process.pid))


def write_config(cluster: Cluster, node: Node) -> bool:
    """Write the configuration files of the node's components; whether a running kubelet must read its anew."""
    node.dir.mkdir(parents=True, exist_ok=True)
    (node.dir / "cni").mkdir(exist_ok=True)
    write_atomically(node.dir / "cni" / "10-pods.conflist", json.dumps(cni(cluster, node)))
    link_plugins(cluster, node)
    write_atomically(node.dir / "containerd.toml", containerd_toml(node))
    write_atomically(node.dir / "proxy.json", json.dumps(proxy(cluster, node), indent=1))
    file, text = node.dir / "kubelet.json", json.dumps(kubelet(cluster, node), indent=1)
    changed = file.exists() and file.read_text() != text
    write_atomically(file, text)
    return changed


def link_plugins(cluster: Cluster, node: Node) -> None:
    """One directory with the distribution's CNI plugins and ours."""
    directory = node.dir / "cni-bin"
    directory.mkdir(exist_ok=True)
    for plugin in (*CNI_PLUGINS.iterdir(), cluster.programs / "netpol-cni"):
        if not (directory / plugin.name).is_symlink():
            (directory / plugin.name).symlink_to(plugin)


def cni(cluster: Cluster, node: Node) -> dict[str, object]:
    """CNI configuration: a bridge per node, no masquerading (pods keep their address everywhere)."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": node.pod_cidr}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    netpol = {"type": "netpol-cni", "socket": str(netpol_testpart.socket_path(cluster))}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, portmap, netpol]}


def containerd_toml(node: Node) -> str:
    """Configuration of containerd 1.6 or newer 1.x."""
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower a pod's OOM score.
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{node.dir / "cni-bin"}"
conf_dir = "{node.dir / "cni"}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def machine() -> tuple[int, int]:
    """Processors in thousandths and memory in MiB of the whole machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return 1000 * (os.cpu_count() or 1), memory


def reserved(whole: tuple[int, int], nodes: int) -> dict[str, str]:
    """What each of `nodes` kubelets must hold back so that together they offer the machine once."""
    cpu, memory = (amount - amount // nodes for amount in whole)
    return {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}


def kubelet(cluster: Cluster, node: Node) -> dict[str, object]:
    """KubeletConfiguration of the node."""
    pki = cluster.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"{node.name}-serving.crt"),
        "tlsPrivateKeyFile": str(pki / f"{node.name}-serving.key"),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": ["pods"],
        "systemReserved": reserved(machine(), cluster.nodes),
        "maxPods": MAX_PODS,
        "clusterDNS": [DNS_VIP],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": "",
        # The disk is the user's: no image or pod is thrown away because something else fills it.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 100,
        "eventBurst": 200,
        "kubeAPIQPS": 300,
        "kubeAPIBurst": 600,
    }


def proxy(cluster: Cluster, node: Node) -> dict[str, object]:
    """KubeProxyConfiguration of the node."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(cluster.pki / "kube-proxy.kubeconfig"), "qps": 100, "burst": 200},
        "hostnameOverride": node.name,
        "mode": "nftables",
        "clusterCIDR": POD_CIDR,
        "nftables": {"minSyncPeriod": "20ms"},  # the default of 1 s delays a new endpoint that long
        "conntrack": {"maxPerCore": 0},  # the table's size is the host's and is left alone
    }


def components(cluster: Cluster, node: Node) -> list[Component]:
    """The node's programs."""
    holder = holder_file(node)
    kubelet_flags = [
        f"--config={node.dir / 'kubelet.json'}",
        f"--kubeconfig={cluster.pki / f'{node.name}.kubeconfig'}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
    ]
    return [
        Component(
            f"{node.name}/containerd",
            ("/usr/bin/containerd", "--config", str(node.dir / "containerd.toml")),
            node.netns,
            holder,
        ),
        Component(
            f"{node.name}/kubelet",
            (str(cluster.programs / "kubelet"), *kubelet_flags),
            node.netns,
            holder,
            needs_api=True,
        ),
        Component(
            f"{node.name}/kube-proxy",
            (str(cluster.programs / "kube-proxy"), f"--config={node.dir / 'proxy.json'}"),
            node.netns,
            holder,
            needs_api=True,
        ),
    ]
