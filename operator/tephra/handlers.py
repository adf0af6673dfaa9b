"""kopf is the shell: it watches and reconnects; its handlers only hand each event to the engine.

Settings are chosen so that kopf does nothing else (facts of kopf 1.45): no posting of Events, no scanning for new
kinds, no peering (leadership is a Lease), no finalizers and no annotations, because there are only `on.event`
handlers. Its per-object memory of "what was handled last" is switched off: kopf would deep-copy and compare every
object at every event, which is most of its cost, and the engine compares for itself.

kopf runs in the engine's event loop: a thread of its own would cost a hop per event. At its exit kopf cancels tasks
that were started after it, so `tephra.app` starts it last and stops it last.
"""

import datetime
from collections.abc import Collection
from typing import Any

import kopf

from tephra.kube.config import Config
from tephra.kube.resources import resource
from tephra.reconcile.loop import Engine
from tephra.reconcile.sync import Sync, Watch

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
    chosen.watching.chunk_size = 500
    chosen.queueing.idle_timeout = IDLE_S
    chosen.persistence.diffbase_storage = _NoDiffBase()
    chosen.persistence.progress_storage = _NoProgress()
    for watch in watches:
        if watch.labels:
            found = resource(watch.kind)
            chosen.watching.label_selectors[found.group, found.version, found.plural] = watch.labels
    return chosen


def registry(engine: Engine, sync: Sync, config: Config, watches: Collection[Watch]) -> kopf.OperatorRegistry:
    """The handlers: one for every watched kind, and one that logs in."""
    handlers = kopf.OperatorRegistry()

    async def arrived(event: Any, **_: Any) -> None:
        kind_of_event, item = event["type"], event["object"]
        if kind_of_event is None:
            sync.listed_anew(item["kind"])
        engine.observe(item, gone=kind_of_event == "DELETED", listed=kind_of_event is None)

    for watch in watches:
        found = resource(watch.kind)
        kopf.on.event(found.group, found.version, found.plural, registry=handlers, id="arrived")(arrived)

    @kopf.on.login(registry=handlers)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await connection(config)

    return handlers


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
