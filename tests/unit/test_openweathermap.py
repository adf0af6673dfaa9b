"""ThingVisor openweathermap: conversion of recorded responses, and polling our simulator over HTTP."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openweathermap
import orjson
import pytest
import upstream
from aiohttp.test_utils import TestServer
from conversion import BadWeather, CurrentWeather, Units, read, single_values, weather_observed
from openweathermap import OpenWeatherMap
from openweathermap_simulator import FAULTS, application, weather_at

from tephra.bus.messages import DeclaredThing
from tephra.things.testing import Trial, running

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "thingvisors/openweathermap/fixtures"
SHARED = Path(os.environ.get("TEPHRA_SHARED_DATA", ROOT.parent / "shared/data"))
ROME = {"name": "rome", "lat": 41.89, "lon": 12.48}
OSLO = {"name": "oslo", "lat": 59.91, "lon": 10.75}


# -- conversion


def test_a_response_becomes_the_documented_entities() -> None:
    weather = read((FIXTURES / "rome-rain.json").read_bytes())
    made = {"rome": weather_observed("rome", weather, "metric")}
    made |= {f"rome_{suffix}": entity for suffix, entity in single_values("rome", weather, "metric")}
    assert made == orjson.loads((FIXTURES / "rome-rain.entities.json").read_bytes())


def test_what_a_response_lacks_is_left_out() -> None:
    entity = weather_observed("London", read((FIXTURES / "no-options.json").read_bytes()), "standard")
    assert {"feelsLikeTemperature", "windSpeed", "gustSpeed", "visibility", "weatherType"}.isdisjoint(entity)
    assert entity["precipitation"]["value"] == 0
    assert entity["relativeHumidity"]["value"] == 0.07
    assert entity["temperature"]["unitCode"] == "KEL"
    assert entity["address"]["value"] == {"addressLocality": "London"}


@pytest.mark.parametrize(("units", "codes"), [("standard", ("KEL", "MTS")), ("imperial", ("FAH", "HM"))])
def test_unit_codes_follow_the_units(units: Units, codes: tuple[str, str]) -> None:
    weather = read((FIXTURES / "rome-rain.json").read_bytes())
    entity = weather_observed("rome", weather, units)
    assert (entity["temperature"]["unitCode"], entity["windSpeed"]["unitCode"]) == codes
    assert dict(single_values("rome", weather, units))["temp"]["thermometer"]["unitCode"] == codes[0]


def test_a_name_becomes_part_of_a_urn() -> None:
    weather = read((FIXTURES / "rome-rain.json").read_bytes())
    assert weather_observed("São Paulo", weather, "metric")["id"] == "urn:ngsi-ld:WeatherObserved:S%C3%A3o%20Paulo"


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"cod":"404","message":"city not found"}', b'{"coord":{'])
def test_what_is_no_weather_is_refused(body: bytes) -> None:
    with pytest.raises(BadWeather):
        read(body)


def recordings() -> list[Path]:
    return sorted(path for path in (SHARED / "openweathermap").glob("*.json") if not path.name.startswith("error"))


@pytest.mark.skipif(not recordings(), reason="no recorded responses: set TEPHRA_SHARED_DATA")
def test_recorded_responses_convert() -> None:
    for path in recordings():
        body = orjson.loads(path.read_bytes())
        entity = weather_observed("x", read(path.read_bytes()), "standard")
        assert entity["temperature"]["value"] == body["main"]["temp"]
        assert entity["location"]["value"]["coordinates"] == [body["coord"]["lon"], body["coord"]["lat"]]
        assert entity["windSpeed"]["value"] == body["wind"]["speed"]


@pytest.mark.skipif(not (SHARED / "smart-data-models").exists(), reason="no Smart Data Models: set TEPHRA_SHARED_DATA")
def test_attributes_are_those_of_the_data_model() -> None:
    model = orjson.loads((SHARED / "smart-data-models/WeatherObserved.ld.normalized.jsonld").read_bytes())
    entity = weather_observed("rome", read((FIXTURES / "rome-rain.json").read_bytes()), "metric")
    for name in entity.keys() & model.keys() - {"id", "type", "@context"}:
        assert entity[name]["type"] == model[name]["type"], name
    common = {"feelsLikeTemperature", "gustSpeed", "visibility", "weatherType"}  # Weather-Commons, not in the example
    assert entity.keys() - model.keys() == common


@pytest.mark.parametrize("units", ["standard", "metric", "imperial"])
@pytest.mark.parametrize("lat", [-90, 0, 41.9, 90])
def test_the_simulator_makes_weather_that_is_read(lat: float, units: str) -> None:
    for hour in range(0, 48, 5):
        weather = read(orjson.dumps(weather_at(lat, 12.5, 1767225600 + 3600 * hour, units)))
        assert isinstance(weather, CurrentWeather)
        assert weather.base == "simulated"


# -- polling


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The simulator on loopback; its URL. Waiting is short."""
    monkeypatch.setattr(openweathermap, "_FIRST_RETRY", 0.01)
    monkeypatch.setattr(openweathermap, "_LAST_RETRY", 0.05)
    monkeypatch.setattr(upstream, "_TIMEOUT", 0.3)
    async with TestServer(application({"good"})) as server:
        yield str(server.make_url("/"))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "appid").write_text("good\n")
    return tmp_path


def params(url: str, *cities: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"baseUrl": url, "cities": list(cities), "callsPerMinute": 6000} | more


async def failing(trial: Trial, reason: str) -> str:
    report = await trial.report_when(lambda report: report.health.reason == reason)
    assert not report.health.ok
    return report.health.message


async def test_every_city_has_its_four_things(service: str, secret: Path) -> None:
    async with running(OpenWeatherMap, params(service, ROME, OSLO), secret_dir=secret) as trial:
        observed = await trial.entity("rome", "urn:ngsi-ld:WeatherObserved:rome")
        assert observed["location"]["value"]["coordinates"] == [12.48, 41.89]
        assert observed["dataProvider"]["value"] == "OpenWeatherMap simulator"
        assert (await trial.entity("oslo_temp", "urn:ngsi-ld:oslo:temp"))["thermometer"]["unitCode"] == "CEL"
        report = await trial.report_when(lambda report: report.health.ok)
        kinds = {thing.thing: thing.type for thing in report.v_things}
        assert kinds == {
            f"{city}{suffix}": kind
            for city in ("rome", "oslo")
            for suffix, kind in (
                ("", "WeatherObserved"),
                ("_temp", "temperature"),
                ("_humidity", "humidity"),
                ("_pressure", "pressure"),
            )
        }


async def test_a_declared_place_is_observed_and_survives_new_params(service: str, secret: Path) -> None:
    made = DeclaredThing(thing="cabin", revision="1", params={"lat": 60.0, "lon": 8.0})
    wrong = DeclaredThing(thing="moon", revision="1", params={"lat": 600})
    async with running(OpenWeatherMap, params(service), things=[made, wrong], secret_dir=secret) as trial:
        assert trial.report
        assert "lat: Input should be less than" in trial.report.failures[0].message
        before = await trial.entity("cabin", "urn:ngsi-ld:WeatherObserved:cabin")
        assert before["location"]["value"]["coordinates"] == [8.0, 60.0]
        trial.bus.published.clear()
        await trial.configure(params(service, ROME), [made])
        await trial.entity("cabin", "urn:ngsi-ld:WeatherObserved:cabin")
        report = await trial.configure(params(service, ROME), [])
        assert "cabin" not in {thing.thing for thing in report.v_things}


@pytest.mark.parametrize(
    ("fault", "reason", "said"),
    [
        ("401", "Unauthorized", "check key 'appid'"),
        ("404", "BadResponse", "city not found"),
        ("500", "Unreachable", "answers 500: Internal error"),
        ("503", "Unreachable", "answers 503"),
        ("429", "RateLimited", "poll fewer cities"),
        ("slow", "Unreachable", "did not answer within"),
        ("truncated", "BadResponse", "broke off"),
        ("garbage", "BadResponse", "not understood"),
        ("incomplete", "BadResponse", "main: Field required"),
    ],
)
async def test_faults_are_named_and_over_when_mended(
    service: str, secret: Path, fault: str, reason: str, said: str
) -> None:
    async with running(OpenWeatherMap, params(f"{service}{fault}", ROME), secret_dir=secret) as trial:
        message = await failing(trial, reason)
        assert message.startswith("rome: ")
        assert said in message
        await trial.configure(params(service, ROME))
        await trial.entity("rome", "urn:ngsi-ld:WeatherObserved:rome")
        await trial.report_when(lambda report: report.health.ok)


def test_every_fault_of_the_simulator_is_tried() -> None:
    marks = test_faults_are_named_and_over_when_mended.pytestmark  # type: ignore[attr-defined]
    assert {row[0] for row in marks[0].args[1]} == set(FAULTS)


async def test_a_wrong_key_is_told_and_a_new_one_taken_up(service: str, secret: Path) -> None:
    (secret / "appid").write_text("bad")
    async with running(OpenWeatherMap, params(service, ROME), secret_dir=secret) as trial:
        assert "Invalid API key" in await failing(trial, "Unauthorized")
        (secret / "appid").unlink()
        await failing(trial, "SecretMissing")
        (secret / "appid").write_text("good")
        await trial.entity("rome", "urn:ngsi-ld:WeatherObserved:rome")
        await trial.report_when(lambda report: report.health.ok)


async def test_nobody_at_the_address(secret: Path) -> None:
    async with running(OpenWeatherMap, params("http://127.0.0.1:1", ROME, OSLO), secret_dir=secret) as trial:
        assert "cannot be reached" in await failing(trial, "Unreachable")


async def test_one_place_that_fails_does_not_stop_the_others(
    service: str, secret: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = upstream.Upstream.current

    async def flaky(self: upstream.Upstream, lat: float, lon: float, key: str, units: Units) -> CurrentWeather:
        return await real(self, lat if lat < 50 else 91, lon, key, units)

    monkeypatch.setattr(upstream.Upstream, "current", flaky)
    async with running(OpenWeatherMap, params(service, ROME, OSLO), secret_dir=secret) as trial:
        assert "oslo: OpenWeatherMap answers 400: wrong latitude" in await failing(trial, "BadResponse")
        await trial.entity("rome", "urn:ngsi-ld:WeatherObserved:rome")


async def test_equal_names_are_refused(service: str, secret: Path) -> None:
    async with running(OpenWeatherMap, params(service, ROME, ROME), secret_dir=secret) as trial:
        assert trial.report
        assert "'rome' is there more than once" in trial.report.params_error


async def test_the_quota_is_kept(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "_MINUTE", 0.2)
    async with upstream.Upstream(service, 3) as calls:
        clock = asyncio.get_running_loop().time
        began = clock()
        for _ in range(7):
            await calls.current(1, 1, "good", "metric")
        assert clock() - began >= 0.4
