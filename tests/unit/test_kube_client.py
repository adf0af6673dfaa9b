"""The Kubernetes client against a small HTTP server that answers as the API server does, faults included."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from aiohttp import web

from tephra.kube import config
from tephra.kube.client import Client, Selection, WatchEvent
from tephra.kube.config import Config, ConfigError, Credential
from tephra.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from tephra.kube.transport import Retry

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "a", "name": "p"}}
QUICK = Retry(deadline_s=0.5, first_s=0.01, cap_s=0.02, attempt_timeout_s=0.3)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Answers each request with the next of `script` (the last one for ever); remembers what was asked."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.asked: list[tuple[str, str]] = []
        self.requests: list[tuple[web.Request, bytes]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path))
        self.requests.append((request, await request.read()))
        answer = self.script[0] if len(self.script) == 1 else self.script.pop(0)
        return await answer(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


def fixed(token: str = "t") -> config.Credentials:
    async def credentials() -> Credential:
        return Credential(token=token)

    return credentials


@pytest.fixture
async def kube(server: Server) -> AsyncIterator[Client]:
    async with Client(Config(server.url, fixed()), retry=QUICK, silence_s=0.2) as client:
        yield client


def ok(body: Any) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    return answer


def fault(code: int, reason: str = "", headers: dict[str, str] | None = None, **status: Any) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        body = orjson.dumps({"kind": "Status", "reason": reason, "message": f"it is {reason or code}", **status})
        return web.Response(status=code, body=body, headers=headers, content_type="application/json")

    return answer


async def cut(request: web.Request) -> web.Response:
    """The connection breaks before an answer."""
    assert request.transport
    request.transport.abort()
    return web.Response()


def stream(*events: tuple[str, dict[str, Any]], stay: bool = False) -> Answer:
    """A watch; `stay` leaves it open and silent."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for kind, item in events:
            await response.write(orjson.dumps({"type": kind, "object": item}) + b"\n")
        while stay:
            await asyncio.sleep(60)
        return response

    return answer


def pod(name: str, version: int, **meta: Any) -> dict[str, Any]:
    return {**POD, "metadata": {"namespace": "a", "name": name, "resourceVersion": str(version), "uid": name, **meta}}


def page(*items: dict[str, Any], version: int = 1, more: str = "") -> Answer:
    return ok({"metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)})


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(5):
        async for event in events:
            found.append((event.type, event.object.get("metadata", {}).get("name", "")))
            if len(found) == count:
                return found
    raise AssertionError


# --- one error class per meaning


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", TooManyRequests),
        (500, "InternalError", ServerError),
        (504, "Timeout", ServerError),
    ],
)
async def test_every_meaning_has_its_error(
    server: Server, kube: Client, code: int, reason: str, expected: type[ApiError]
) -> None:
    server.script = [fault(code, reason)]
    with pytest.raises(expected) as caught:
        await kube.get("Pod", "p", "a")
    assert type(caught.value) is expected
    assert "get Pod a/p" in str(caught.value), "the object"
    assert f"it is {reason}" in str(caught.value), "the cause"
    assert "next: " in str(caught.value), "the next step"


async def test_an_answer_that_is_no_status_is_told_as_it_is(server: Server, kube: Client) -> None:
    async def proxy_error(request: web.Request) -> web.Response:
        return web.Response(status=403, text="<html>no entry</html>")

    server.script = [proxy_error]
    with pytest.raises(Forbidden, match="no entry"):
        await kube.get("Pod", "p", "a")


async def test_nobody_listens(unused_tcp_port: int) -> None:
    async with Client(Config(f"http://127.0.0.1:{unused_tcp_port}", fixed()), retry=QUICK) as client:
        with pytest.raises(Unreachable, match="next: check that the API server is up"):
            await client.get("Pod", "p", "a")
        assert not await client.healthy()


# --- the retry policy


@pytest.mark.parametrize("trouble", [fault(500), fault(503), cut, fault(429, headers={"Retry-After": "0"})])
async def test_passing_trouble_is_sat_out(server: Server, kube: Client, trouble: Answer) -> None:
    server.script = [trouble, trouble, ok(POD)]
    assert await kube.get("Pod", "p", "a") == POD
    assert len(server.asked) == 3


async def test_retry_after_is_obeyed_and_not_beyond_the_deadline(server: Server, kube: Client) -> None:
    server.script = [fault(429, "TooManyRequests", {"Retry-After": "1"})]
    with pytest.raises(TooManyRequests):
        await kube.get("Pod", "p", "a")
    assert len(server.asked) == 1


async def test_a_hanging_server_is_given_up(server: Server, kube: Client) -> None:
    server.script = [stream(stay=True)]
    with pytest.raises(Unreachable):
        await kube.get("Pod", "p", "a")


@pytest.mark.parametrize("trouble", [fault(500), cut])
async def test_a_creation_is_not_repeated_when_it_may_have_happened(
    server: Server, kube: Client, trouble: Answer
) -> None:
    server.script = [trouble, ok(POD)]
    with pytest.raises(ApiError):
        await kube.create(POD)
    assert len(server.asked) == 1


async def test_refused_credentials_are_renewed_once(server: Server) -> None:
    tokens = iter(["old", "new"])

    async def credentials() -> Credential:
        return Credential(token=next(tokens))

    server.script = [fault(401, "Unauthorized"), ok(POD)]
    async with Client(Config(server.url, credentials), retry=QUICK) as client:
        await client.get("Pod", "p", "a")
    assert [request.headers["Authorization"] for request, _ in server.requests] == ["Bearer old", "Bearer new"]
    server.script = [fault(401, "Unauthorized")]
    async with Client(Config(server.url, fixed()), retry=QUICK) as client:
        with pytest.raises(Unauthorized):
            await client.get("Pod", "p", "a")


async def test_requests_are_measured_by_verb_kind_and_code(server: Server) -> None:
    measured: list[tuple[str, str, int]] = []
    server.script = [fault(503), ok(POD)]
    async with Client(
        Config(server.url, fixed()),
        retry=QUICK,
        observer=lambda verb, kind, code, _: measured.append((verb, kind, code)),
    ) as client:
        await client.apply(POD)
    assert measured == [("apply", "Pod", 503), ("apply", "Pod", 200)]


# --- verbs


async def test_server_side_apply(server: Server, kube: Client) -> None:
    server.script = [ok(POD)]
    await kube.apply(POD, force=False, dry_run=True)
    await kube.apply_status({**POD, "status": {"phase": "Running"}})
    (first, body), (second, _) = server.requests
    assert first.headers["Content-Type"] == "application/apply-patch+yaml"
    assert dict(first.query) == {"fieldManager": "tephra", "force": "false", "dryRun": "All"}
    assert orjson.loads(body) == POD
    assert (second.method, second.path, second.query["force"]) == (
        "PATCH",
        "/api/v1/namespaces/a/pods/p/status",
        "true",
    )


async def test_deletion_of_that_very_object(server: Server, kube: Client) -> None:
    server.script = [ok({"kind": "Status"})]
    await kube.delete("Pod", "p", "a", uid="u1")
    assert orjson.loads(server.requests[0][1])["preconditions"] == {"uid": "u1"}


async def test_a_list_comes_in_pages_with_kinds(server: Server, kube: Client) -> None:
    bare = {"metadata": {"name": "x", "namespace": "a"}}
    server.script = [page(bare, more="next"), page(bare, version=9)]
    listing = await kube.list("Pod", Selection("a", labels="x=y"))
    assert (len(listing.items), listing.resource_version) == (2, "9")
    assert listing.items[0]["kind"] == "Pod"
    assert [request.query.get("continue") for request, _ in server.requests] == [None, "next"]
    assert server.requests[0][0].query["labelSelector"] == "x=y"


async def test_a_list_starts_over_when_its_pages_expire(server: Server, kube: Client) -> None:
    server.script = [page(pod("x", 1), more="next"), fault(410, "Expired"), page(pod("y", 2), version=3)]
    assert [item["metadata"]["name"] for item in (await kube.list("Pod")).items] == ["y"]


async def test_log_lines(server: Server, kube: Client) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"one\ntwo\nthree")

    server.script = [answer]
    assert [line async for line in kube.logs("p", "a", tail=3)] == [b"one", b"two", b"three"]


def test_a_namespaced_object_needs_its_namespace() -> None:
    with pytest.raises(ValueError, match="name the namespace"):
        asyncio.run(Client(Config("http://127.0.0.1:1", fixed())).get("Pod", "p"))


# --- watching


async def test_a_watch_lists_then_follows(server: Server, kube: Client) -> None:
    server.script = [
        page(pod("x", 5), version=7),
        stream(("MODIFIED", pod("x", 8)), ("DELETED", pod("x", 9)), stay=True),
    ]
    expected = [("ADDED", "x"), ("SYNCED", ""), ("MODIFIED", "x"), ("DELETED", "x")]
    assert await take(kube.watch("Pod"), 4) == expected
    assert server.requests[1][0].query["resourceVersion"] == "7"
    assert server.requests[1][0].query["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize(
    "trouble", [stream(), cut, fault(500), stream(stay=True)], ids=["end", "cut", "500", "silence"]
)
async def test_a_broken_watch_goes_on_where_it_was(server: Server, kube: Client, trouble: Answer) -> None:
    bookmark = ("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
    server.script = [
        page(version=7),
        stream(("ADDED", pod("x", 8)), bookmark),
        trouble,
        stream(("ADDED", pod("y", 21)), stay=True),
    ]
    assert await take(kube.watch("Pod"), 3) == [("SYNCED", ""), ("ADDED", "x"), ("ADDED", "y")]
    assert [request.query["resourceVersion"] for request, _ in server.requests[1:]] == ["7", "20", "20"]


def _error(code: int, **status: Any) -> Answer:
    return stream(("ERROR", {"kind": "Status", "code": code, "message": "too old", **status}))


_TOO_LARGE = {"details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}


@pytest.mark.parametrize(
    "lost", [_error(410), fault(410, "Expired"), _error(504, **_TOO_LARGE)], ids=["event", "answer", "restored etcd"]
)
async def test_a_watch_that_lost_its_place_lists_again_and_tells_what_vanished(
    server: Server, kube: Client, lost: Answer
) -> None:
    server.script = [
        page(pod("stays", 1), pod("goes", 2), version=7),
        lost,
        page(pod("stays", 1), pod("new", 8), version=9),
        stream(stay=True),
    ]
    events = await take(kube.watch("Pod"), 7)
    assert events[:3] == [("ADDED", "stays"), ("ADDED", "goes"), ("SYNCED", "")]
    assert events[3] == ("DELETED", "goes")
    assert sorted(events[4:6]) == [("ADDED", "new"), ("ADDED", "stays")]


async def test_a_watch_that_may_not_be_fails(server: Server, kube: Client) -> None:
    server.script = [fault(404, "NotFound")]
    with pytest.raises(NotFound):
        await take(kube.watch("Pod"), 1)


# --- configuration


def kubeconfig(folder: Path, **user: Any) -> Path:
    (folder / "ca.pem").write_text("a certificate")
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "tenant"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://h:6443/", "certificate-authority": "ca.pem"}}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return path


async def test_a_kubeconfig_with_a_client_certificate(tmp_path: Path) -> None:
    data = {f"client-{part}-data": base64.b64encode(part.encode()).decode() for part in ("certificate", "key")}
    found = config.load(str(kubeconfig(tmp_path, **data)))
    assert (found.server, found.namespace, found.authority) == ("https://h:6443", "tenant", b"a certificate")
    credential = await found.credentials()
    assert (credential.certificate, credential.key) == (b"certificate", b"key")


async def test_an_exec_plugin_is_run_and_its_failure_told(tmp_path: Path) -> None:
    answer = '{"status": {"token": "from-plugin", "expirationTimestamp": "2100-01-01T00:00:00Z"}}'
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "echo", "args": [answer]}
    credential = await config.load(str(kubeconfig(tmp_path, exec=plugin))).credentials()
    assert credential.token == "from-plugin"
    assert credential.expires > 4e9
    missing = {**plugin, "command": "no-such-plugin", "installHint": "install it from there"}
    with pytest.raises(ConfigError, match="install it from there"):
        await config.load(str(kubeconfig(tmp_path, exec=missing))).credentials()


async def test_a_service_account_token_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"token": "one", "ca.crt": "ca", "namespace": "sys"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    found = config.in_cluster(tmp_path)
    assert (found.server, found.namespace) == ("https://[fd00::1]:443", "sys")
    assert (await found.credentials()).token == "one"
    (tmp_path / "token").write_text("two\n")
    assert (await found.credentials()).token == "two"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current-context": ""}, "name one with --context"),
        ({"current-context": "x"}, "no context named 'x'; there are: c"),
        ({"users": []}, "no user named 'u'; there are: none"),
    ],
)
def test_a_bad_kubeconfig_is_told_with_the_next_step(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = kubeconfig(tmp_path)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    with pytest.raises(ConfigError, match=message):
        config.load(str(path))


def test_no_kubeconfig_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--kubeconfig"):
        config.load(str(tmp_path / "none"))
