"""The parts that stand in for what a real cluster gets from its vendor, each named as a test part.

They are ordinary programs of this package, run in the hub by the supervisor.
"""

import sys
from pathlib import Path

from cluster.component import Component
from cluster.spec import Cluster


def components(cluster: Cluster, repository: Path) -> list[Component]:
    """The programs that the supervisor runs beside Kubernetes."""
    del cluster, repository
    return []
