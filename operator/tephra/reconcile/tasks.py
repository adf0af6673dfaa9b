"""The long-lived tasks of the process, by name: the first to end, or a signal, is the end of all."""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger(__name__)

SIGNALS = "signals"


class Tasks:
    """Makes them, waits for the first end, cancels the rest."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._signalled = asyncio.Event()
        self._started = asyncio.Event()
        self.listen_to_signals()

    def start(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        self._started.set()
        return task

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGINT end the process in order; call it again after somebody else took them."""
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, self._signalled.set)

    async def first_end(self) -> str:
        """Wait for it; its name, :data:`SIGNALS` when it was a signal."""
        signalled = asyncio.create_task(self._signalled.wait(), name=SIGNALS)
        self._tasks.add(signalled)
        ended: set[asyncio.Task[Any]] = set()
        while not ended:
            self._started.clear()
            more = asyncio.create_task(self._started.wait())
            ended, _ = await asyncio.wait({*self._tasks, more}, return_when=asyncio.FIRST_COMPLETED)
            ended.discard(more)
            more.cancel()
        for task in ended - {signalled}:
            error = None if task.cancelled() else task.exception()
            log.critical("task %r ended: %s", task.get_name(), error or "nothing more to do", exc_info=error)
        return SIGNALS if signalled in ended else next(iter(ended)).get_name()

    async def cancel(self, all_but: asyncio.Task[Any] | None = None) -> None:
        """Cancel and wait."""
        ending = self._tasks - {all_but, asyncio.current_task()}
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
