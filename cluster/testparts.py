"""The programs of this package that run beside Kubernetes, in the hub, under the supervisor.

They stand in for what a vendor brings to a real cluster: volumes, load balancing to the outside,
enforcement of NetworkPolicies.
"""

import sys
from pathlib import Path

from cluster.component import Component
from cluster.spec import Cluster

REPOSITORY = Path(__file__).parent.parent
COMMANDS = ("agent", "netpol-testpart")


def components(cluster: Cluster) -> list[Component]:
    """One component per command of `python3 -m cluster` that is such a program."""
    python = ("/usr/bin/env", f"PYTHONPATH={REPOSITORY}", sys.executable, "-m", "cluster")
    return [
        Component(command, (*python, command, "--name", cluster.name), cluster.hub, needs_api=True)
        for command in COMMANDS
    ]
