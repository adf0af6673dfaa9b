"""The Kubernetes client: get, list, watch, server-side apply, create, replace, delete, logs.

Role: verbs over `transport`, on plain dict objects. Callers: the performer of actions (`tephra.act.perform`),
the engine's first lists and resync (`tephra.reconcile`), magma, the plugin and the tests. Every method raises
the `ApiError` of the HTTP meaning. Server-side apply (Kubernetes "Server-Side Apply" reference): one field
manager per concern; `force` takes over fields that another manager holds.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import aiohttp
import orjson

from tephra.kube.config import Config
from tephra.kube.errors import ApiError, Gone, error_from
from tephra.kube.resources import Object, describe, resource, resource_of
from tephra.kube.transport import CONNECT_TIMEOUT_S, Observer, Request, Retry, Transport

FIELD_MANAGER = "tephra"
PAGE = 500  # objects per list request, as kubectl asks
SILENCE_S = 75.0  # bookmarks come about once a minute; a longer silence is a dead stream

EventType = Literal["ADDED", "MODIFIED", "DELETED", "SYNCED"]


class WatchEvent(NamedTuple):
    """A change; `SYNCED` (an empty object) says that everything that existed has been delivered."""

    type: EventType
    object: Object


class Listing(NamedTuple):
    items: list[Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind: one namespace (None: all), label and field selectors in kubectl's syntax."""

    namespace: str | None = None
    labels: str = ""
    fields: str = ""

    def query(self, **more: str) -> dict[str, str]:
        query = {"labelSelector": self.labels, "fieldSelector": self.fields, **more}
        return {key: value for key, value in query.items() if value}


EVERYTHING = Selection()


class Client:
    """An asynchronous client of one API server: `async with Client(load()) as kube:`, or `close()` it."""

    def __init__(
        self,
        config: Config,
        *,
        field_manager: str = FIELD_MANAGER,
        retry: Retry | None = None,
        observer: Observer | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        self.config = config
        self.field_manager = field_manager
        self._silence_s = silence_s
        self._retry = retry or Retry()
        self._transport = Transport(config, retry=self._retry, observer=observer, user_agent=field_manager)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    # --- reads

    async def get(self, kind: str, name: str, namespace: str | None = None) -> Object:
        path = resource(kind).path(namespace, name)
        return await self._send(Request("GET", path, "get", kind, f"get {describe(kind, namespace, name)}"))

    async def list(self, kind: str, selection: Selection = EVERYTHING, *, page: int = PAGE) -> Listing:
        """All objects that match, fetched page by page; starts over once when the pages expire meanwhile."""
        try:
            return await self._list(kind, selection, page)
        except Gone:
            return await self._list(kind, selection, page)

    async def _list(self, kind: str, selection: Selection, page: int) -> Listing:
        found, items, token = resource(kind), [], ""
        while True:
            query = selection.query(limit=str(page), **{"continue": token})
            path = found.path(selection.namespace)
            what = f"list {describe(kind, selection.namespace, None)}"
            answer = await self._send(Request("GET", path, "list", kind, what, query))
            for item in answer.get("items") or ():  # built-in kinds leave these two out of lists
                item.setdefault("apiVersion", found.api_version)
                item.setdefault("kind", kind)
                items.append(item)
            token = answer["metadata"].get("continue") or ""
            if not token:
                return Listing(items, str(answer["metadata"]["resourceVersion"]))

    async def watch(
        self, kind: str, selection: Selection = EVERYTHING, resource_version: str | None = None
    ) -> AsyncGenerator[WatchEvent, None]:
        """Changes without end: resumes after a cut, lists again when the server forgot our place (410).

        Without `resource_version` it lists first: every object as ADDED, then SYNCED. After such a new list,
        objects that vanished unseen come as DELETED with the last known identity.
        """
        known: dict[tuple[str, str], Object] = {}
        version, started, failures = resource_version, resource_version is not None, 0
        while True:
            try:
                if version is None:
                    listing = await self.list(kind, selection)
                    started, version = True, listing.resource_version
                    for event in _relist(known, listing.items):
                        yield event
                    yield WatchEvent("SYNCED", {})
                async for kind_of_event, item in self._stream(kind, selection, version):
                    version, failures = str(item["metadata"]["resourceVersion"]), 0
                    if kind_of_event != "BOOKMARK":
                        event = WatchEvent(kind_of_event, item)
                        _remember(known, event)
                        yield event
            except ApiError as error:
                if not (error.transient and started):
                    raise
                version = None if _place_is_lost(error) else version
            if failures:
                await asyncio.sleep(self._retry.delay(failures))
            failures += 1

    async def _stream(self, kind: str, selection: Selection, version: str) -> AsyncIterator[tuple[Any, Object]]:
        """One watch request: (type, object), bookmarks too, until the server ends it or falls silent."""
        query = selection.query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=version,
            timeoutSeconds=str(random.randint(240, 300)),  # so that streams do not all end at once
        )
        path = resource(kind).path(selection.namespace)
        what = f"watch {describe(kind, selection.namespace, None)}"
        async for line in self._lines(Request("GET", path, "watch", kind, what, query), self._silence_s):
            event = orjson.loads(line)
            if event["type"] == "ERROR":
                raise error_from(what, int(event["object"].get("code") or 0), event["object"])
            yield event["type"], event["object"]

    async def logs(
        self, pod: str, namespace: str, *, container: str = "", follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[bytes]:
        """The lines of a container's log, without their line ends."""
        query = {"container": container, "follow": "true" if follow else "", "tailLines": str(tail or "")}
        path = resource("Pod").path(namespace, pod, "log")
        request = Request(
            "GET",
            path,
            "logs",
            "Pod",
            f"logs {describe('Pod', namespace, pod)}",
            {k: v for k, v in query.items() if v},
        )
        async for line in self._lines(request, None):
            yield line

    async def _lines(self, request: Request, silence_s: float | None) -> AsyncIterator[bytes]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=silence_s)
        async with self._transport.exchange(request, timeout) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line
            if rest:
                yield rest

    # --- writes

    async def apply(
        self,
        manifest: Mapping[str, Any],
        *,
        force: bool = True,
        subresource: str | None = None,
        manager: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Server-side apply of `manifest` (its apiVersion, kind, name and namespace say where)."""
        kind, name, namespace = _identity(manifest)
        query = {"fieldManager": manager or self.field_manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        path = resource_of(manifest).path(namespace, name, subresource)
        verb = f"apply_{subresource}" if subresource else "apply"
        what = f"{verb} {describe(kind, namespace, name)}"
        request = Request("PATCH", path, verb, kind, what, query, dict(manifest), "application/apply-patch+yaml")
        return await self._send(request)

    async def apply_status(self, manifest: Mapping[str, Any]) -> Object:
        """Server-side apply of the status subresource; `manifest` holds identity and `status` alone."""
        return await self.apply(manifest, subresource="status")

    async def create(self, manifest: Mapping[str, Any]) -> Object:
        """Create; raises AlreadyExists. With `metadata.generateName` the server chooses the name."""
        path = resource_of(manifest).path(manifest["metadata"].get("namespace"))
        return await self._write("POST", path, "create", manifest)

    async def replace(self, manifest: Mapping[str, Any]) -> Object:
        """PUT of the whole object; raises Conflict when its `metadata.resourceVersion` is not the newest."""
        _, name, namespace = _identity(manifest)
        return await self._write("PUT", resource_of(manifest).path(namespace, name), "update", manifest)

    async def _write(self, method: str, path: str, verb: str, manifest: Mapping[str, Any]) -> Object:
        kind, name, namespace = _identity(manifest)
        query = {"fieldManager": self.field_manager}
        what = f"{verb} {describe(kind, namespace, name)}"
        return await self._send(Request(method, path, verb, kind, what, query, dict(manifest)))

    async def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: Literal["Background", "Foreground", "Orphan"] = "Background",
        grace_s: int | None = None,
    ) -> None:
        """Delete; with `uid` only that very object (Conflict when another has taken its name)."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        path = resource(kind).path(namespace, name)
        what = f"delete {describe(kind, namespace, name)}"
        await self._send(Request("DELETE", path, "delete", kind, what, {}, options))

    async def healthy(self) -> bool:
        """Whether the API server answers `/readyz` right now (no retries)."""
        try:
            await self._transport.once(Request("GET", "/readyz", "readyz", "", "get /readyz"))
        except ApiError:
            return False
        return True

    async def raw(self, method: str, path: str, *, body: Any = None) -> Any:
        """Any other request, e.g. `/version`, or a SelfSubjectAccessReview; the decoded JSON answer."""
        return await self._send(Request(method, path, "raw", "", f"{method} {path}", {}, body))

    async def _send(self, request: Request) -> Object:
        decoded: Object = orjson.loads(await self._transport.send(request))
        return decoded


def _identity(manifest: Mapping[str, Any]) -> tuple[str, str, str | None]:
    meta = manifest["metadata"]
    return str(manifest["kind"]), str(meta.get("name") or ""), meta.get("namespace")


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _remember(known: dict[tuple[str, str], Object], event: WatchEvent) -> None:
    if event.type == "DELETED":
        known.pop(_key(event.object), None)
    else:
        known[_key(event.object)] = _tombstone(event.object)


def _place_is_lost(error: ApiError) -> bool:
    """Whether our resourceVersion is of no use any more: compacted away, or from before a restored backup."""
    causes = error.details.get("causes") or ()
    return isinstance(error, Gone) or any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes)


def _tombstone(item: Object) -> Object:
    """What is left to say about an object that vanished unseen."""
    meta = {key: item["metadata"][key] for key in ("namespace", "name", "uid", "labels") if key in item["metadata"]}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": meta}


def _relist(known: dict[tuple[str, str], Object], items: list[Object]) -> list[WatchEvent]:
    present = {_key(item) for item in items}
    vanished = [WatchEvent("DELETED", known.pop(key)) for key in set(known) - present]
    added = [WatchEvent("ADDED", item) for item in items]
    for event in added:
        _remember(known, event)
    return vanished + added
