"""`/livez`, `/readyz` and `/metrics` over HTTP.

Role: `tephra.app` names the checks. A check returns nothing when all is well, else what is wrong and what to do.
`/livez` failing makes the kubelet restart the process, so only what a restart mends belongs there. A frozen event
loop answers nothing at all, which the kubelet's time-out notices; one that lags is told by the gauge.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

log = logging.getLogger(__name__)

Check = Callable[[], str | None]
BEAT_S = 1.0
LAG_LIMIT_S = 10.0


class HealthServer:
    """Serves until it is closed. ``live`` and ``ready`` map names to checks and may grow at any time."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lag = Gauge("tephra_loop_lag_seconds", "How late the event loop runs its timers.", registry=registry)
        self._late = 0.0
        self._runner: web.AppRunner | None = None
        self.live: dict[str, Check] = {"loop": self._check_lag}
        self.ready: dict[str, Check] = {}

    async def start(self, port: int, host: str = "") -> int:
        """Listen; returns the port, chosen by the system when 0 is given. An empty host means all addresses."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host or None, port).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def beat(self) -> None:
        """Measure the lag of the event loop for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self._late = loop.time() - due
            self._lag.set(self._late)

    def _check_lag(self) -> str | None:
        return f"the event loop is {self._late:.0f} s late" if self._late > LAG_LIMIT_S else None

    async def _livez(self, request: web.Request) -> web.Response:
        return _answer(self.live)

    async def _readyz(self, request: web.Request) -> web.Response:
        return _answer(self.ready)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _answer(checks: Mapping[str, Check]) -> web.Response:
    wrong = {name: said for name, check in checks.items() if (said := check())}
    text = "".join(f"{name}: {said}\n" for name, said in wrong.items()) or "ok\n"
    return web.Response(status=503 if wrong else 200, text=text)
