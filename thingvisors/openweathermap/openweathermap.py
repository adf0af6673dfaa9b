"""ThingVisor ``openweathermap``: the current weather of cities, polled by latitude and longitude.

Per city four vThings: ``<city>`` (Smart Data Models' WeatherObserved) and the paper's ``<city>_temp``,
``<city>_humidity`` and ``<city>_pressure``. A vThing that somebody declares with ``lat`` and ``lon`` is one more
WeatherObserved. A place that fails is retried with backoff and named in the health; the others go on.
Neighbours: :mod:`upstream` (HTTP), :mod:`conversion` (pure).
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any

from conversion import CurrentWeather, Units, single_values, weather_observed
from pydantic import Field, field_validator
from upstream import Upstream

from tephra.things import Announcement, Params, SourceError, ThingVisor, run

_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0
"""Seconds before a place that failed is tried again: doubling from the first to the last."""


class Spot(Params):
    """Where; all that a hand-written VThing sets in its `spec.params`."""

    lat: float = Field(ge=-90, le=90, description="Latitude, degrees north.")
    lon: float = Field(ge=-180, le=180, description="Longitude, degrees east.")


class City(Spot):
    """A place with a name, from which its vThings are named."""

    name: str = Field(min_length=1, max_length=96, description="Name of the city; the vThings are named after it.")


class OpenWeatherMap(ThingVisor):
    """Current weather from OpenWeatherMap."""

    class Params(Params):
        """Which cities, how often, from where."""

        cities: list[City] = Field(default=[], max_length=1000, description="Places to observe; names are unique.")
        period: float = Field(
            default=600, ge=1, le=86400, description="Seconds between two calls per city. The data change every 10 min."
        )
        units: Units = Field(default="metric", description="Units of temperature and wind speed.")
        base_url: str = Field(
            default="https://api.openweathermap.org", pattern="^https?://", description="Where the service is."
        )
        calls_per_minute: int = Field(default=60, ge=1, le=6000, description="Quota of the plan; never exceeded.")

        @field_validator("cities")
        @classmethod
        def names_are_unique(cls, cities: list[City]) -> list[City]:
            """The vThings are named after them."""
            if again := [name for name, times in Counter(city.name for city in cities).items() if times > 1]:
                raise ValueError(f"the name {again[0]!r} is there more than once")
            return cities

    def setup(self) -> None:
        self._polls: dict[str, asyncio.Task[None]] = {}
        self._troubles: dict[str, SourceError] = {}

    async def start(self, params: Params) -> None:
        """Poll every city until cancelled."""
        await self.serve(*(announcement for city in params.cities for announcement in _announcements(city.name)))
        async with Upstream(params.base_url, params.calls_per_minute) as upstream:
            self._upstream, self._params = upstream, params
            try:
                for city in params.cities:
                    self._follow(city.name, city, whole=True)
                await asyncio.Event().wait()
            finally:
                for name in list(self._polls):
                    await self._leave(name)

    async def make(self, thing: str, params: dict[str, Any]) -> Announcement:
        """A place that somebody declared."""
        spot = Spot.model_validate(params)
        await self._leave(thing)
        self._follow(thing, spot, whole=False)
        return _observation(thing)

    async def unmake(self, thing: str) -> None:
        await self._leave(thing)

    # -- polling

    def _follow(self, name: str, spot: Spot, whole: bool) -> None:
        self._polls[name] = asyncio.create_task(self._poll(name, spot, whole))

    async def _leave(self, name: str) -> None:
        self._troubles.pop(name, None)
        if poll := self._polls.pop(name, None):
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)

    async def _poll(self, name: str, spot: Spot, whole: bool) -> None:
        """Observe one place for ever; the same observation is published once."""
        delay, last = _FIRST_RETRY, None
        while True:
            try:
                weather = await self._upstream.current(spot.lat, spot.lon, self.secret("appid"), self._params.units)
                if weather != last:
                    await self._tell(name, weather, whole)
                    last = weather
                self._trouble(name, None)
                delay = _FIRST_RETRY
                await asyncio.sleep(self._params.period)
            except SourceError as error:
                self._trouble(name, error)
                await asyncio.sleep(max(delay, getattr(error, "after", 0.0)))
                delay = min(delay * 2, _LAST_RETRY)

    async def _tell(self, name: str, weather: CurrentWeather, whole: bool) -> None:
        await self.publish(name, [weather_observed(name, weather, self._params.units)])
        if whole:
            for suffix, entity in single_values(name, weather, self._params.units):
                await self.publish(f"{name}_{suffix}", [entity])

    def _trouble(self, name: str, error: SourceError | None) -> None:
        """Note how one place fares, and say how all of them do."""
        if error:
            self._troubles[name] = error
        else:
            self._troubles.pop(name, None)
        if not self._troubles:
            self.health.ok()
            return
        first, worst = next(iter(self._troubles.items()))
        others = len(self._polls) - len(self._troubles)
        more = f" (and {len(self._troubles) - 1} more)" if len(self._troubles) > 1 else ""
        self.health.failing(worst.reason, f"{first}{more}: {worst}; {others} other places go on")


def _announcements(city: str) -> Iterable[Announcement]:
    yield _observation(city)
    for suffix, kind in (("temp", "temperature"), ("humidity", "humidity"), ("pressure", "pressure")):
        yield Announcement(thing=f"{city}_{suffix}", type=kind, description=f"Current {kind} of {city}")


def _observation(city: str) -> Announcement:
    return Announcement(thing=city, type="WeatherObserved", description=f"Current weather of {city}")


if __name__ == "__main__":
    run(OpenWeatherMap)
