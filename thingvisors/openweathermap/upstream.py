"""One call of OpenWeatherMap's current weather, and what its failures mean.

Traps: ``cod`` is a number in a success and a string in an error, so only the HTTP status counts; the free plan allows
60 calls a minute, which :class:`Upstream` never exceeds, however many cities there are.
Neighbours: :mod:`conversion` reads the body, :mod:`openweathermap` decides when to call.
"""

import asyncio
from collections import deque

import aiohttp
import orjson
from conversion import BadWeather, CurrentWeather, Units, read

from tephra.things import Reason, SourceError

_TIMEOUT = 10.0
"""Seconds for a whole call."""
_MINUTE = 60.0


class RetryLater(SourceError):
    """The quota is used up; ``after`` s from now it may be tried again."""

    def __init__(self, message: str, after: float) -> None:
        super().__init__(Reason.RATE_LIMITED, message)
        self.after = after


class Upstream:
    """``async with Upstream(base_url, 60) as upstream``"""

    def __init__(self, base_url: str, calls_per_minute: int) -> None:
        self._url = f"{base_url.rstrip('/')}/data/2.5/weather"
        self._limit = calls_per_minute
        self._calls: deque[float] = deque()
        self._turn = asyncio.Lock()
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT))

    async def __aenter__(self) -> "Upstream":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def current(self, lat: float, lon: float, key: str, units: Units) -> CurrentWeather:
        """The weather at a place; raises SourceError naming what the upstream said and what to do."""
        await self._wait_for_turn()
        query = {"lat": str(lat), "lon": str(lon), "units": units, "appid": key}
        try:
            async with self._session.get(self._url, params=query) as response:
                return _judge(response.status, await response.read(), response.headers.get("Retry-After", ""))
        except TimeoutError as error:
            raise SourceError(Reason.UNREACHABLE, f"{self._url} did not answer within {_TIMEOUT:.0f} s") from error
        except aiohttp.ClientPayloadError as error:
            raise SourceError(Reason.BAD_RESPONSE, f"{self._url} broke off in the middle of its answer") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceError(Reason.UNREACHABLE, f"{self._url} cannot be reached: {error}") from error

    async def _wait_for_turn(self) -> None:
        """At most ``calls_per_minute`` calls in any minute."""
        clock = asyncio.get_running_loop().time
        async with self._turn:
            while self._calls and clock() - self._calls[0] >= _MINUTE:
                self._calls.popleft()
            if len(self._calls) >= self._limit:
                await asyncio.sleep(self._calls[0] + _MINUTE - clock())
                self._calls.popleft()
            self._calls.append(clock())


def _judge(status: int, body: bytes, retry_after: str) -> CurrentWeather:
    if status == 200:
        try:
            return read(body)
        except BadWeather as error:
            raise SourceError(Reason.BAD_RESPONSE, f"OpenWeatherMap's answer is not understood: {error}") from error
    said = f"OpenWeatherMap answers {status}: {_said(body)}"
    if status in (401, 403):
        raise SourceError(Reason.UNAUTHORIZED, f"{said}; check key 'appid' in the Secret")
    if status == 429:
        raise RetryLater(f"{said}; poll fewer cities or less often", _seconds(retry_after))
    if status >= 500:
        raise SourceError(Reason.UNREACHABLE, said)
    raise SourceError(Reason.BAD_RESPONSE, f"{said}; check lat and lon")


def _said(body: bytes) -> str:
    """The message of an error body, which is JSON, or of a proxy, which is not."""
    try:
        return str(orjson.loads(body)["message"])[:200]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return body[:80].decode(errors="replace") or "without a word"


def _seconds(retry_after: str) -> float:
    return float(retry_after) if retry_after.isdigit() else _MINUTE
