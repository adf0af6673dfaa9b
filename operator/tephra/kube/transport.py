"""One HTTP exchange with the API server: TLS, credentials, retries, errors. `client` gives it verbs.

The retry policy: 429 waits as long as Retry-After says, 5xx and lost connections back off, all within one
deadline; 401 asks for fresh credentials once. A POST is repeated only when the server cannot have acted on it.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tephra.kube.config import Config, Credential
from tephra.kube.errors import ApiError, ServerError, TooManyRequests, Unauthorized, Unreachable, error_from

USER_AGENT = "tephra"
CONNECTIONS = 128
CONNECT_TIMEOUT_S = 10.0

Observer = Callable[[str, str, int, float], None]  # verb, kind, HTTP code (0: no answer), seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """Repeat a failed request until `deadline_s` has passed: after `first_s`, doubling up to `cap_s`."""

    deadline_s: float = 30.0
    first_s: float = 0.2
    cap_s: float = 1.0  # few requests wait at a time, and whoever waits for them notices every second
    attempt_timeout_s: float = 30.0

    def delay(self, attempt: int) -> float:
        return min(self.cap_s, self.first_s * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Request:
    """What to send. `verb` and `kind` name it in metrics, `what` in errors (`apply VSilo tenant-a/home`)."""

    method: str
    path: str
    verb: str
    kind: str
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"


class Transport:
    """A pooled session to one API server under one identity."""

    def __init__(
        self,
        config: Config,
        *,
        retry: Retry | None = None,
        observer: Observer | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        self.config = config
        self._retry = retry or Retry()
        self._observe = observer or (lambda verb, kind, code, seconds: None)
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        if config.impersonate:
            self._headers["Impersonate-User"] = config.impersonate
        self._session: aiohttp.ClientSession | None = None
        self._credential: Credential | None = None
        self._tls: Any = None
        self._renewing = asyncio.Lock()

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            self._session = None

    async def send(self, request: Request) -> bytes:
        """The body of the answer; raises the `ApiError` of its HTTP meaning once the policy gives up."""
        give_up = time.monotonic() + self._retry.deadline_s
        attempt, renewed = 0, False
        while True:
            try:
                return await self.once(request)
            except ApiError as error:
                if isinstance(error, Unauthorized) and not renewed:
                    renewed, self._credential = True, None
                    continue
                wait = self._retry.delay(attempt) if error.retry_after is None else error.retry_after
                if not _repeatable(request, error) or time.monotonic() + wait > give_up:
                    raise
            attempt += 1
            await asyncio.sleep(wait)

    async def once(self, request: Request) -> bytes:
        """One attempt."""
        timeout = aiohttp.ClientTimeout(total=self._retry.attempt_timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        async with self.exchange(request, timeout) as response:
            return await response.read()

    @asynccontextmanager
    async def exchange(self, request: Request, timeout: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """One attempt, its answer still open; 400 or more raises, and a lost connection is `Unreachable`."""
        started, code = time.monotonic(), 0
        try:
            async with await self._open(request, timeout) as response:
                code = response.status
                if code >= 400:
                    raise await _error(request, response)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            cause = str(error) or type(error).__name__
            raise _unreachable(request, cause, error) from error
        finally:
            self._observe(request.verb, request.kind, code, time.monotonic() - started)

    async def _open(self, request: Request, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        headers = dict(self._headers)
        await self._authorise(headers)
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS), auto_decompress=True
            )
        return await self._session.request(
            request.method,
            self.config.server + request.path,
            params=request.query,
            data=orjson.dumps(request.body) if request.body is not None else None,
            headers=headers,
            timeout=timeout,
            ssl=self._tls if self._tls is not None else True,
            server_hostname=self.config.server_name,
            proxy=self.config.proxy,
        )

    async def _authorise(self, headers: dict[str, str]) -> None:
        async with self._renewing:  # one renewal, however many requests wait for it
            if self._credential is None or self._credential.expires <= time.time():
                fresh = await self.config.credentials()
                if self._tls is None or self._credential is None or fresh.certificate != self._credential.certificate:
                    self._tls = self.config.tls(fresh)
                self._credential = fresh
            credential = self._credential
        if credential.token:
            headers["Authorization"] = f"Bearer {credential.token}"
        elif credential.basic:
            headers["Authorization"] = aiohttp.encode_basic_auth(*credential.basic.split(":", 1))


def _repeatable(request: Request, error: ApiError) -> bool:
    if isinstance(error, TooManyRequests):
        return True
    never_arrived = isinstance(error, Unreachable) and isinstance(error.__cause__, aiohttp.ClientConnectorError)
    if request.method == "POST":
        return never_arrived
    return isinstance(error, (ServerError, Unreachable))


def _unreachable(request: Request, cause: str, error: BaseException) -> Unreachable:
    return Unreachable(request.what, f"no answer from the API server ({cause})", reason=type(error).__name__)


async def _error(request: Request, response: aiohttp.ClientResponse) -> ApiError:
    body = await response.read()
    try:
        status = orjson.loads(body)
    except ValueError:
        status = {"message": body.decode(errors="replace").strip()[:500]}
    if not isinstance(status, dict):
        status = {}
    return error_from(request.what, response.status, status, _retry_after(response.headers.get("Retry-After")))


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 §10.2.3); the API server never sends a date."""
    return float(header) if header and header.isdigit() else None
