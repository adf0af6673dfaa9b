"""What `cluster status` prints: components, nodes, places, and the memory of the whole."""

from cluster import procs, supervisor, teardown
from cluster.kubeapi import Api, ApiError
from cluster.setup import is_ready
from cluster.spec import Cluster


def status(cluster: Cluster) -> tuple[list[str], bool]:
    """Lines to print, and whether everything runs."""
    records = supervisor.records(cluster)
    alive = supervisor.is_running(cluster)
    lines = [f"cluster {cluster.name}: supervisor {'running' if alive else 'NOT RUNNING; mend it with up'}"]
    healthy = alive
    for name, record in records.get("components", {}).items():
        running = bool(record["pid"]) and procs.start_time(record["pid"]) == record["start"]
        state = "running" if running else "stopped" if record["stopped"] else "DOWN"
        healthy = healthy and running
        memory = f"{procs.rss_mib(record['pid']):6.0f} MiB" if running else ""
        lines.append(f"  {name:32}{state:10}{memory:12}restarts {record['restarts']}")
    lines += node_lines(cluster)
    total = sum(procs.rss_mib(pid) for pid in teardown.processes(cluster.name))
    ports = cluster.nodeports
    lines += [
        f"memory of all processes and pods: {total:.0f} MiB resident",
        f"kubeconfig  {cluster.kubeconfig}",
        f"API server  {cluster.host_url}",
        f"NodePorts   127.0.0.1:{ports.start} to {ports.stop - 1}",
        f"audit log   {cluster.audit_log}",
        f"logs        {cluster.logs}",
    ]
    return lines, healthy


def node_lines(cluster: Cluster) -> list[str]:
    """One line per real Node object, or why there is none."""
    try:
        items = Api(cluster).request("GET", "/api/v1/nodes")["items"]
    except (OSError, ApiError) as error:
        return [f"  nodes: the API server does not answer ({error})"]
    real = [item for item in items if item["metadata"].get("labels", {}).get("type") != "kwok"]
    lines = [
        f"  {item['metadata']['name']:32}{'Ready' if is_ready(item) else 'NOT READY':10}"
        f"cpu {item['status']['allocatable']['cpu']}, memory {item['status']['allocatable']['memory']}"
        for item in real
    ]
    return [*lines, *([f"  and {len(items) - len(real)} simulated nodes"] if len(items) > len(real) else [])]
