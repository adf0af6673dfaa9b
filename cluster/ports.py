"""Picks the host ports of a new cluster: a slot is an API server port and a slice of NodePorts.

Slots make clusters that live side by side disjoint. `cluster.cli` calls this under the lock of the
clusters' directory; `cluster.spec` turns the slot into port numbers.
"""

import socket
from collections.abc import Callable, Iterable

from cluster.errors import ClusterError
from cluster.spec import FIRST_API_PORT, FIRST_NODEPORT, NODEPORTS_PER_CLUSTER, SLOTS


def is_free(port: int) -> bool:
    """Whether 127.0.0.1:port can be listened on now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def slot_ports(slot: int) -> list[int]:
    """Every host port that belongs to a slot; the API server's comes first."""
    first = FIRST_NODEPORT + slot * NODEPORTS_PER_CLUSTER
    return [FIRST_API_PORT + slot, *range(first, first + NODEPORTS_PER_CLUSTER)]


def pick_slot(taken: Iterable[int], free: Callable[[int], bool] = is_free) -> int:
    """Lowest slot that no cluster in `taken` has and whose ports are all free on loopback."""
    used = set(taken)
    for slot in range(SLOTS):
        if slot not in used and all(free(port) for port in slot_ports(slot)):
            return slot
    raise ClusterError(
        f"all {SLOTS} port slots are taken (API ports from {FIRST_API_PORT}, NodePorts from {FIRST_NODEPORT}); "
        "stop a cluster: python3 -m cluster down --name NAME"
    )


def api_port(slot: int) -> int:
    """Host port of the API server of a slot."""
    return slot_ports(slot)[0]
