"""The launcher's eyes inside a running cluster: one process that follows Services and volumes.

`run` is the body of `python3 -m cluster agent`, a component of the supervisor. Each follower has a
thread; if one fails, the process ends and is started again.
"""

import os
import threading
import traceback
from collections.abc import Callable

from cluster import nodeports, volumes_testpart
from cluster.kubeapi import Api
from cluster.spec import Cluster

FOLLOWERS = (nodeports.follow_services, volumes_testpart.follow_claims, volumes_testpart.follow_volumes)


def run(cluster: Cluster) -> None:
    """Run every follower until one fails."""
    api = Api(cluster, "agent", inside=True)
    threads = [threading.Thread(target=guarded, args=(follow, cluster, api)) for follow in FOLLOWERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def guarded(follow: Callable[[Cluster, Api], None], cluster: Cluster, api: Api) -> None:
    """Run one follower; end the whole process if it fails, so that the supervisor starts it anew."""
    try:
        follow(cluster, api)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
