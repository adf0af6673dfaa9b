"""kopf is the shell: it logs in, watches and reconnects; its handlers only hand each event to the engine.

Settings are chosen so that kopf does nothing else (facts of kopf 1.45): no posting of Events, no scanning for new
kinds, no peering (leadership is a Lease), no finalizers and no annotations, because there are only `on.event`
handlers. An event is due at once: kopf has no batching window for these.

Between its queue and a handler kopf keeps a memory per object, copies and compares the object, detects causes,
throttles errors and invokes through layers; measured, that is 0.2 ms of the 0.35 ms that an event costs, and the engine
does all of it anyway. So :func:`run` lets kopf bind a shorter function for that step, which calls the handler and
nothing else. With kopf's own step everything works the same, only slower; a test runs both.

kopf runs in the engine's event loop: a thread of its own would cost a hop per event. At its exit kopf cancels tasks
that were started after it, so `tephra.app` starts it early and stops it last.
"""

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import kopf
from kopf._core.reactor import processing

from tephra.kube.config import Config
from tephra.kube.resources import resource
from tephra.reconcile.loop import Engine
from tephra.reconcile.sync import Sync, Watch

Handler = Callable[..., Awaitable[None]]
RECONNECT_S = (0.1, 0.4, *[1.0] * 8)  # then kopf begins again; its own delays grow to 21 s, which users would wait
IDLE_S = 0.5  # how long kopf keeps the task of an object after its last event


class _NoDiffBase(kopf.DiffBaseStorage):
    """No object is remembered, so there is nothing to compare it with."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass


class _NoProgress(kopf.ProgressStorage):
    """No handler has a progress to keep."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        pass

    def purge(self, **_: Any) -> None:
        pass

    def touch(self, **_: Any) -> None:
        pass

    def clear(self, *, essence: Any) -> Any:
        return essence


def settings(watches: Collection[Watch]) -> kopf.OperatorSettings:
    """kopf as a plain deliverer of events."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.networking.enforce_retry_after = True
    chosen.networking.error_backoffs = RECONNECT_S
    chosen.watching.chunk_size = 500
    chosen.queueing.idle_timeout = IDLE_S
    chosen.persistence.diffbase_storage = _NoDiffBase()
    chosen.persistence.progress_storage = _NoProgress()
    for watch in watches:
        if watch.labels:
            found = resource(watch.kind)
            chosen.watching.label_selectors[found.group, found.version, found.plural] = watch.labels
    return chosen


async def run(
    engine: Engine,
    sync: Sync,
    config: Config,
    watches: Collection[Watch],
    *,
    ready: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Deliver until stopped. Start it after every task that is to outlive it."""
    existing = asyncio.all_tasks()
    handler = arrival(engine, sync)
    with _straight_to(handler):
        tasks = await kopf.spawn_tasks(
            registry=registry(handler, config, watches),
            settings=settings(watches),
            clusterwide=True,
            ready_flag=ready,
            stop_flag=stop,
        )
    await kopf.run_tasks(tasks, ignored=existing)


def arrival(engine: Engine, sync: Sync) -> Handler:
    """The handler of every watched kind."""

    async def arrived(event: Any, **_: Any) -> None:
        kind_of_event, item = event["type"], event["object"]
        if kind_of_event is None:
            sync.listed_anew(item["kind"])
        engine.observe(item, gone=kind_of_event == "DELETED", listed=kind_of_event is None)

    return arrived


def registry(handler: Handler, config: Config, watches: Collection[Watch]) -> kopf.OperatorRegistry:
    """What is watched, and the login."""
    handlers = kopf.OperatorRegistry()
    for watch in watches:
        found = resource(watch.kind)
        kopf.on.event(found.group, found.version, found.plural, registry=handlers, id="arrived")(handler)

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await connection(config)

    return handlers


@contextmanager
def _straight_to(handler: Handler) -> Iterator[None]:
    """While kopf is being started, its processing of an event is the handler alone."""

    async def process(*, raw_event: Any, **_: Any) -> None:
        await handler(event=raw_event)

    original = processing.process_resource_event
    processing.process_resource_event = process  # type: ignore[assignment]
    try:
        yield
    finally:
        processing.process_resource_event = original


async def connection(config: Config) -> kopf.ConnectionInfo:
    """Our own configuration and credentials, as kopf wants them."""
    credential = await config.credentials()
    user, _, password = (credential.basic or "").partition(":")
    expires = None
    if credential.expires != float("inf"):
        expires = datetime.datetime.fromtimestamp(credential.expires, datetime.UTC)
    return kopf.ConnectionInfo(
        server=config.server,
        ca_data=config.authority,
        insecure=not config.verify,
        username=user or None,
        password=password or None,
        token=credential.token,
        certificate_data=credential.certificate,
        private_key_data=credential.key,
        default_namespace=config.namespace,
        proxy_url=config.proxy,
        expiration=expires,
    )
