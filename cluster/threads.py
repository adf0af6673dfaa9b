"""Threads of the launcher's helper processes: one that fails takes its process with it.

The supervisor then starts the process anew, which lists the cluster's state again; a process with a
dead thread would go on half blind.
"""

import os
import threading
import traceback
from collections.abc import Callable


def start(body: Callable[..., None], *arguments: object) -> threading.Thread:
    """Run `body` in a thread; if it raises, print the traceback and end the process."""

    def guarded() -> None:
        try:
            body(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    return thread
