"""The operator's start-up, told as a story: every long-lived task, by name, and how they stop.

1. Health and metrics are served from the first moment.
2. Keys are read (made at the very first start); the cache is filled by lists, then kopf keeps it fresh. That is
   a warm standby: ready to take over, writing nothing.
3. The Lease is acquired. Its epoch fences off earlier leaders on the bus.
4. The bus is joined, the catalogue applied, the workers start: from here on the engine acts.

Everything runs in one event loop. Any of these tasks ending is the end of the process, which is restarted as a
standby; losing the Lease stops every action at once. A lost Lease is no crash (the API server was away): the process
replaces itself, so that the kubelet does not make it wait longer each time. On SIGTERM the work in hand is finished
(10 s at most), the Lease released, kopf stopped.
"""

import asyncio
import logging
import os
import secrets
import socket
import sys
from contextlib import AsyncExitStack, suppress

from tephra import handlers
from tephra.act import catalogue, keys
from tephra.act import config as configuration
from tephra.act.authorisers.choice import authoriser
from tephra.act.bus import BusControl, Listener
from tephra.act.config import Config
from tephra.act.perform import Performer
from tephra.kube import config as cluster
from tephra.kube.client import Client
from tephra.kube.errors import ApiError
from tephra.kube.lease import Lease
from tephra.kube.resources import Object
from tephra.plan import PLANNERS
from tephra.plan.base import Key, Keys
from tephra.plan.relations import DEPENDENTS, INDEXES
from tephra.reconcile import logs
from tephra.reconcile.cache import Cache
from tephra.reconcile.events import EventRecorder
from tephra.reconcile.health import HealthServer
from tephra.reconcile.loop import Engine, Ports, Rules
from tephra.reconcile.metrics import Metrics
from tephra.reconcile.reports import Reports
from tephra.reconcile.sync import OWN_KINDS, WATCHES, Sync
from tephra.reconcile.tasks import SIGNALS, Tasks
from tephra.reconcile.world import Surroundings

log = logging.getLogger(__name__)

LEASE = "tephra-operator"
LEASE_TASK = "lease"
RETRY_S = 1.0  # between attempts to read the keys
BUS_PATIENCE_S = 2.0  # a bus that is up is joined in far less; one that is not must not hold up everything else
KOPF_PATIENCE_S = 5.0


def main() -> None:
    """Entry point of the operator's image."""
    try:
        config = configuration.read(os.environ)
        logs.configure(config.log_format)
        target = cluster.load()
    except (configuration.ConfigError, cluster.ConfigError) as error:
        sys.exit(f"tephra-operator: {error}")
    try:
        last = asyncio.run(operate(config, target))
    except OSError as error:
        sys.exit(f"tephra-operator: health port {config.health_port}: {error}; next: set TEPHRA_HEALTH_PORT")
    if last == LEASE_TASK:
        logging.shutdown()
        os.execv(sys.executable, sys.orig_argv)
    sys.exit(0 if last == SIGNALS else 1)


async def operate(config: Config, target: cluster.Config) -> str:
    """Run until the first task ends; which one (:data:`.tasks.SIGNALS`: it was asked to stop)."""
    metrics = Metrics()
    health = HealthServer(metrics.registry)
    async with Client(target, observer=metrics.requested) as kube, AsyncExitStack() as stack:
        tasks = Tasks()
        stack.push_async_callback(health.close)
        stack.push_async_callback(tasks.cancel)
        await health.start(config.health_port)
        health.ready["caches"] = lambda: "the operator has not started yet"
        tasks.start("loop lag", health.beat())
        tasks.start("story", story(config, kube, metrics, health, tasks, stack))
        return await tasks.first_end()


async def story(
    config: Config, kube: Client, metrics: Metrics, health: HealthServer, tasks: Tasks, stack: AsyncExitStack
) -> None:
    """From nothing to leading; it ends only when something is wrong."""
    operator = Operator(config, kube, metrics, await read_keys(kube, config), tasks)
    stack.push_async_callback(operator.stop)
    health.ready["caches"] = lambda: None if operator.sync.complete else "the first lists are not complete"
    health.live["watches"] = operator.deaf
    await operator.stand_by()
    await operator.lead()


async def read_keys(kube: Client, config: Config) -> Keys:
    """Read or make them; an API server that is away, or has just started and forbids everything because it does not
    know its roles yet, is waited for: a restart would only take longer."""
    while True:
        try:
            return await keys.load(kube, config)
        except ApiError as error:
            if not error.transient:
                raise
            log.warning("cannot start yet: %s", error)
        await asyncio.sleep(RETRY_S)


class Operator:
    """The parts, wired."""

    def __init__(self, config: Config, kube: Client, metrics: Metrics, derived: Keys, tasks: Tasks) -> None:
        self._config, self._kube, self._keys, self._tasks = config, kube, derived, tasks
        identity = os.environ.get("POD_NAME") or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._lease = Lease(kube, namespace=config.settings.namespace, name=LEASE, identity=identity)
        self._joined = asyncio.Event()
        # The bus and the engine know each other: what the one says, the other plans.
        listener = Listener(self._on_report, self._on_joined, self._on_scanned)
        self._bus = BusControl(authoriser(config, kube, derived), listener)
        self._recorder = EventRecorder(kube, identity)
        cache = Cache(INDEXES)
        performer = Performer(kube, self._bus, cache, self._on_answer)
        around = Surroundings(lambda: self._bus.state, derived, config.settings)
        ports = Ports(performer, kube, self._recorder, metrics, self._lease, around)
        self._engine = Engine(cache, Rules(PLANNERS, DEPENDENTS), ports)
        self._reports = Reports(self._engine)
        self.sync = Sync(self._engine, kube)
        metrics.watch(self._engine, self._lease, [watch.kind for watch in WATCHES], OWN_KINDS)
        self._stop_kopf = asyncio.Event()
        self._kopf: asyncio.Task[None] | None = None

    async def stand_by(self) -> None:
        """Know everything, write nothing."""
        await self.sync.seed()
        log.info("caches complete")
        await self._start_kopf()
        self._tasks.start("repair", self.sync.run())

    async def lead(self) -> None:
        """Wait for the Lease, then act until it is lost."""
        epoch = await self._lease.acquire()
        self._tasks.start(LEASE_TASK, self._lease.hold())
        self._tasks.start("events", self._recorder.run())
        if self._config.bus_managed:
            self._tasks.start("bus secret", keys.keep_bus_secret(self._kube, self._keys, self._config.settings))
        self._tasks.start("bus", self._bus.run(epoch))
        if self._config.catalogue_dir:
            await catalogue.apply(self._kube, self._config.catalogue_dir)
        with suppress(TimeoutError):
            async with asyncio.timeout(BUS_PATIENCE_S):
                await self._joined.wait()
        self._engine.resync()
        self._engine.start()
        await self._engine.join()

    async def stop(self) -> None:
        """Finish what is in hand, hand over, and end kopf (last: it waits for whatever it takes for its own)."""
        await self._engine.stop()
        await self._lease.release()
        await self._tasks.cancel(all_but=self._kopf)
        self._stop_kopf.set()
        if self._kopf:
            await asyncio.wait({self._kopf}, timeout=KOPF_PATIENCE_S)

    def deaf(self) -> str | None:
        kinds = ", ".join(sorted(self.sync.deaf))
        return f"the watches of {kinds} deliver nothing; a restart makes new ones" if kinds else None

    async def _start_kopf(self) -> None:
        started = asyncio.Event()
        config, stop = self._kube.config, self._stop_kopf
        shell = handlers.run(self._engine, self.sync, config, WATCHES, ready=started, stop=stop)
        self._kopf = self._tasks.start("kopf", shell)
        await started.wait()
        self._tasks.listen_to_signals()  # kopf has put its own handlers there

    def _on_answer(self, item: Object) -> None:
        """The API server's answer to an action, ahead of the watch."""
        self._engine.observe(item)

    def _on_report(self, key: Key) -> None:
        self._reports.reported(key)

    def _on_scanned(self) -> None:
        """Everything retained on the bus is known, so leftovers can be found."""
        self._engine.sweep()

    def _on_joined(self) -> None:
        """What the bus holds may be anything now."""
        self._joined.set()
        self._engine.resync()


if __name__ == "__main__":
    main()
