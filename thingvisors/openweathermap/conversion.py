"""From OpenWeatherMap's current weather to NGSI-LD entities. Pure.

Sources: OpenWeatherMap "Current weather data" (``/data/2.5/weather``) for the input; for the output Smart Data Models
``WeatherObserved`` (relative humidity is a fraction there) and the vWeather vThings of VirIoT D3.1 §4.3, in NGSI-LD
normalized form with UN/CEFACT unit codes. Neighbour: :mod:`openweathermap` fetches and publishes.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

Units = Literal["standard", "metric", "imperial"]
Entity = dict[str, Any]

CONTEXT = [
    "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context.jsonld",
    "https://raw.githubusercontent.com/smart-data-models/dataModel.Weather/master/context.jsonld",
]


class UnitCodes(NamedTuple):
    """UN/CEFACT codes of the quantities that follow the ``units`` of the request."""

    temperature: str
    speed: str


UNIT_CODES: dict[Units, UnitCodes] = {
    "standard": UnitCodes("KEL", "MTS"),
    "metric": UnitCodes("CEL", "MTS"),
    "imperial": UnitCodes("FAH", "HM"),
}
FRACTION, PERCENT, HECTOPASCAL, DEGREE, MILLIMETRE, METRE = "C62", "P1", "A97", "DD", "MMT", "MTR"


class Coordinates(BaseModel):
    lon: float = Field(ge=-180, le=180)
    lat: float = Field(ge=-90, le=90)


class Condition(BaseModel):
    description: str = ""


class Main(BaseModel):
    temp: float
    feels_like: float | None = None
    pressure: float
    humidity: float = Field(ge=0, le=100)


class Wind(BaseModel):
    speed: float | None = None
    deg: float | None = None
    gust: float | None = None


class Fallen(BaseModel):
    """Rain or snow of the last hour, mm."""

    hour: float = Field(default=0, alias="1h")


class Place(BaseModel):
    country: str | None = None


class CurrentWeather(BaseModel):
    """What is read of a response; the rest is ignored. Optional parts are absent in real responses."""

    coord: Coordinates
    weather: list[Condition] = []
    base: str = ""
    main: Main
    visibility: float | None = None
    wind: Wind = Wind()
    rain: Fallen = Fallen()
    snow: Fallen = Fallen()
    dt: int = Field(gt=0)
    sys: Place = Place()

    @property
    def observed_at(self) -> str:
        """Time of the observation, ISO 8601 in UTC."""
        return datetime.fromtimestamp(self.dt, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class BadWeather(ValueError):
    """A body that is not a current-weather response; the message says where."""


def read(body: bytes) -> CurrentWeather:
    """Parse a response of status 200."""
    try:
        return CurrentWeather.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise BadWeather(f"{place}: {first['msg']}") from error


def weather_observed(city: str, weather: CurrentWeather, units: Units) -> Entity:
    """The observation as Smart Data Models' WeatherObserved."""
    at, codes = weather.observed_at, UNIT_CODES[units]
    main, wind = weather.main, weather.wind
    quantities = {
        "temperature": (main.temp, codes.temperature),
        "feelsLikeTemperature": (main.feels_like, codes.temperature),
        "relativeHumidity": (round(main.humidity / 100, 4), FRACTION),
        "atmosphericPressure": (main.pressure, HECTOPASCAL),
        "windSpeed": (wind.speed, codes.speed),
        "gustSpeed": (wind.gust, codes.speed),
        "windDirection": (wind.deg, DEGREE),
        "visibility": (weather.visibility, METRE),
        "precipitation": (round(weather.rain.hour + weather.snow.hour, 4), MILLIMETRE),
    }
    measured = {name: _quantity(value, unit, at) for name, (value, unit) in quantities.items() if value is not None}
    return {
        "id": f"urn:ngsi-ld:WeatherObserved:{_part(city)}",
        "type": "WeatherObserved",
        "location": {
            "type": "GeoProperty",
            "value": {"type": "Point", "coordinates": [weather.coord.lon, weather.coord.lat]},
        },
        "address": _property({"addressLocality": city} | _country(weather)),
        "dateObserved": _property({"@type": "DateTime", "@value": at}),
        "dataProvider": _property("OpenWeatherMap" if weather.base != "simulated" else "OpenWeatherMap simulator"),
        **({"weatherType": _property(weather.weather[0].description, at)} if weather.weather else {}),
        **measured,
        "@context": CONTEXT,
    }


def single_values(city: str, weather: CurrentWeather, units: Units) -> Iterator[tuple[str, Entity]]:
    """The paper's three vThings, ``(suffix, entity)``: each one entity with one attribute."""
    main = weather.main
    for suffix, kind, attribute, value, unit in (
        ("temp", "temperature", "thermometer", main.temp, UNIT_CODES[units].temperature),
        ("humidity", "humidity", "hygrometer", main.humidity, PERCENT),
        ("pressure", "pressure", "barometer", main.pressure, HECTOPASCAL),
    ):
        yield (
            suffix,
            {
                "id": f"urn:ngsi-ld:{_part(city)}:{suffix}",
                "type": kind,
                attribute: _quantity(value, unit, weather.observed_at),
            },
        )


def _part(city: str) -> str:
    """A city's name as part of a URN."""
    return quote(city, safe="")


def _country(weather: CurrentWeather) -> dict[str, str]:
    return {"addressCountry": weather.sys.country} if weather.sys.country else {}


def _quantity(value: float, unit: str, at: str) -> Entity:
    whole = int(value) if float(value).is_integer() else value
    return {"type": "Property", "value": whole, "unitCode": unit, "observedAt": at}


def _property(value: Any, at: str | None = None) -> Entity:
    return {"type": "Property", "value": value} | ({"observedAt": at} if at else {})
