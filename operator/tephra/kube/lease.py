"""Leadership by a `coordination.k8s.io/v1` Lease, and the fencing epoch that goes with it.

Role: `tephra.app` acquires before the engine acts, holds while it acts, releases at the end. As in client-go's
leader election, the holder renews every `renew_every_s` and stops by itself after `give_up_s` without success;
others take over once the record has not changed, on *their* clock, for `duration_s` (no clocks are compared).
`give_up_s` < `duration_s` is what keeps two holders apart. Every acquisition raises `leaseTransitions`, so that
number is the fencing epoch: off the cluster, whoever comes with a lower one is refused.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tephra.kube.client import Client
from tephra.kube.errors import ApiError, Conflict, NotFound
from tephra.kube.resources import Object, resource

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: others wait `duration_s`, the holder stops after `give_up_s`, tries are `renew_every_s` apart."""

    duration_s: int = 10
    give_up_s: float = 7.0
    renew_every_s: float = 2.0


class Lease:
    """One candidate for one Lease. `identity` is unique among live processes; a restarted one may reuse it."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._namespace, self._name = client, namespace, name
        self.identity = identity
        self._timing = timing or Timing()
        self._clock = clock
        self._record: Object | None = None  # as last read or written
        self._seen_at = 0.0  # when `_record` last changed, on our clock
        self._renewed_at = float("-inf")
        self._released = False
        self.epoch = 0

    @property
    def held(self) -> bool:
        """Whether acting is allowed right now; also false when the event loop stood still for too long."""
        return not self._released and self._clock() - self._renewed_at < self._timing.give_up_s

    async def acquire(self) -> int:
        """Wait until the Lease is ours; returns the fencing epoch."""
        while not await self._try_to_take():
            await asyncio.sleep(self._timing.renew_every_s)
        log.info("leading as %s, epoch %d", self.identity, self.epoch)
        return self.epoch

    async def hold(self) -> None:
        """Renew until the Lease is lost; then return. Cancel it to stop earlier."""
        while self.held:
            await asyncio.sleep(self._timing.renew_every_s)
            try:
                if self.held:
                    await asyncio.wait_for(self._renew(), self._timing.give_up_s)
            except Conflict:
                self._renewed_at = float("-inf")
            except (ApiError, TimeoutError) as error:
                log.warning(
                    "lease %s/%s not renewed: %s", self._namespace, self._name, str(error) or "no answer in time"
                )
        if not self._released:
            log.error("lease %s/%s lost by %s", self._namespace, self._name, self.identity)

    async def release(self) -> None:
        """Give it up, so that a standby takes over at its next try."""
        if not self.held:
            return
        self._released = True
        try:
            await self._give_up()
        except ApiError as error:  # it will run out by itself
            log.warning("lease %s/%s not released: %s", self._namespace, self._name, error)

    async def _give_up(self) -> None:
        current = self._record
        while current is not None and current["spec"]["holderIdentity"] == self.identity:
            try:
                await self._write({**current["spec"], "holderIdentity": "", "renewTime": _now()})
            except Conflict:  # a renewal was under way
                current = await self._read()
            else:
                return

    async def _try_to_take(self) -> bool:
        started = self._clock()
        try:
            current = await self._read()
            if current is not None and not self._free(current["spec"]):
                return False
            transitions = int(current["spec"].get("leaseTransitions") or 0) if current else _beginning()
            await self._write(self._claim(transitions + 1))
        except ApiError as error:
            level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING  # a conflict: another was faster
            log.log(level, "lease %s/%s not taken: %s", self._namespace, self._name, error)
            return False
        self._renewed_at, self._released, self.epoch = started, False, transitions + 1
        return True

    def _free(self, spec: dict[str, Any]) -> bool:
        holder = spec.get("holderIdentity") or ""
        patience = float(spec.get("leaseDurationSeconds") or self._timing.duration_s)
        return holder in {"", self.identity} or self._clock() - self._seen_at > patience

    def _claim(self, transitions: int) -> dict[str, Any]:
        now = _now()
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._timing.duration_s,
            "leaseTransitions": transitions,
            "acquireTime": now,
            "renewTime": now,
        }

    async def _read(self) -> Object | None:
        try:
            current = await self._client.get("Lease", self._name, self._namespace)
        except NotFound:
            self._record = None
            return None
        if self._record is None or current["metadata"]["resourceVersion"] != _version(self._record):
            self._record, self._seen_at = current, self._clock()
        return current

    async def _renew(self) -> None:
        assert self._record is not None
        started = self._clock()
        await self._write({**self._record["spec"], "renewTime": _now()})
        self._renewed_at = started

    async def _write(self, spec: dict[str, Any]) -> None:
        meta: Object = {"namespace": self._namespace, "name": self._name}
        manifest: Object = {
            "apiVersion": resource("Lease").api_version,
            "kind": "Lease",
            "metadata": meta,
            "spec": spec,
        }
        if self._record is None:
            self._record = await self._client.create(manifest)
        else:
            meta["resourceVersion"] = _version(self._record)
            self._record = await self._client.replace(manifest)
        self._seen_at = self._clock()


def _version(record: Object) -> str:
    return str(record["metadata"]["resourceVersion"])


def _beginning() -> int:
    """Where a Lease that does not exist begins to count: beyond what a deleted predecessor can have counted, whose
    last holder is still known off the cluster. In tens of seconds since 1970, which stay within int32 for centuries."""
    return int(time.time()) // 10


def _now() -> str:
    """RFC 3339 with microseconds, the format of MicroTime."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
