"""The launcher's eyes inside a running cluster: one process that follows Services and volumes.

`run` is the body of `python3 -m cluster agent`, a component of the supervisor.
"""

from cluster import nodeports, threads, volumes_testpart
from cluster.kubeapi import Api
from cluster.spec import Cluster

FOLLOWERS = (nodeports.follow_services, volumes_testpart.follow_claims, volumes_testpart.follow_volumes)


def run(cluster: Cluster) -> None:
    """Run every follower, each in a thread, for ever."""
    api = Api(cluster, "agent", inside=True)
    for thread in [threads.start(follow, cluster, api) for follow in FOLLOWERS]:
        thread.join()
