"""A SIMULATOR of OpenWeatherMap's current-weather service: the documented response shape, made-up weather.

``GET /data/2.5/weather?lat=&lon=&appid=[&units=]``. The weather is a function of place and time, moves visibly within
seconds, and says ``"base": "simulated"``. A path prefix makes it fail, so that ``baseUrl`` chooses the fault:
``http://host:8080/<fault>`` with one of :data:`FAULTS`. Environment: ``SIMULATOR_KEYS`` (accepted keys, comma
separated), ``SIMULATOR_PORT``, ``SIMULATOR_FAULT_RATE`` (share of ordinary answers that fail, each fault as likely).
"""

import asyncio
import json
import math
import os
import random
import time
from typing import Any

from aiohttp import web

MESSAGES = {
    401: "Invalid API key. Please see https://openweathermap.org/faq#error401 for more info.",
    404: "city not found",
    429: "Your account is temporary blocked due to exceeding of requests limitation of your subscription type.",
    500: "Internal error",
    503: "Service unavailable",
}
FAULTS = (*(str(status) for status in MESSAGES), "slow", "truncated", "garbage", "incomplete")
"""Error statuses; no answer in time; a body that breaks off; no JSON; JSON without the measurements."""
_SLOW = 30.0
_KELVIN = 273.15


def weather_at(lat: float, lon: float, now: float, units: str = "standard") -> dict[str, Any]:
    """Plausible weather: colder towards the poles, warmer in the afternoon, always a little different."""
    local = (now / 3600 + lon / 15) % 24
    wobble = math.sin(now / 7 + lat) + 0.5 * math.sin(now / 3 + lon)
    kelvin = _KELVIN + 27 - 0.45 * abs(lat) + 5 * math.sin((local - 9) / 24 * 2 * math.pi) + 0.8 * wobble
    speed = 3.5 + 2 * math.sin(now / 11 + lat + lon)
    humidity = round(min(98, max(20, 62 - 18 * math.sin((local - 9) / 24 * 2 * math.pi) - 4 * wobble)))
    rain, midnight = humidity > 75, int(now // 86400 * 86400)
    return {
        "coord": {"lon": lon, "lat": lat},
        "weather": [_condition(rain)],
        "base": "simulated",
        "main": {
            "temp": _temperature(kelvin, units),
            "feels_like": _temperature(kelvin - 0.7 * speed / 3, units),
            "temp_min": _temperature(kelvin - 1.2, units),
            "temp_max": _temperature(kelvin + 1.1, units),
            "pressure": round(1013 + 9 * math.sin(now / 900 + lat)),
            "humidity": humidity,
        },
        "visibility": 8000 if rain else 10000,
        "wind": {"speed": round(speed * (2.23694 if units == "imperial" else 1), 2), "deg": int(now / 2 + lon) % 360},
        **({"rain": {"1h": round((humidity - 75) / 4, 2)}} if rain else {}),
        "clouds": {"all": min(100, max(0, humidity - 20))},
        "dt": int(now),
        "sys": {"country": "", "sunrise": midnight + 21600, "sunset": midnight + 64800},
        "timezone": int(lon / 15) * 3600,
        "id": 0,
        "name": "",
        "cod": 200,
    }


def _condition(rain: bool) -> dict[str, Any]:
    if rain:
        return {"id": 500, "main": "Rain", "description": "light rain", "icon": "10d"}
    return {"id": 802, "main": "Clouds", "description": "scattered clouds", "icon": "03d"}


def _temperature(kelvin: float, units: str) -> float:
    celsius = kelvin - _KELVIN
    return round({"metric": celsius, "imperial": celsius * 9 / 5 + 32}.get(units, kelvin), 2)


def _error(status: int, message: str) -> web.Response:
    """Error bodies carry the status as text, except 401 and 429, as the service does."""
    code = status if status in (401, 429) else str(status)
    return web.json_response({"cod": code, "message": message}, status=status)


def _place(request: web.Request) -> tuple[float, float]:
    """Raises web.HTTPException as the service answers."""
    place = []
    for name, long, limit in (("lat", "latitude", 90), ("lon", "longitude", 180)):
        try:
            value = float(request.query[name])
        except (KeyError, ValueError):
            value = math.inf
        if not abs(value) <= limit:
            body = json.dumps(
                {"cod": "400", "message": f"wrong {long}" if name in request.query else "Nothing to geocode"}
            )
            raise web.HTTPBadRequest(text=body, content_type="application/json")
        place.append(value)
    return place[0], place[1]


async def _fail(request: web.Request, fault: str, body: bytes) -> web.StreamResponse:
    if fault.isdigit():
        return _error(int(fault), MESSAGES[int(fault)])
    if fault == "slow":
        await asyncio.sleep(_SLOW)
    if fault == "garbage":
        return web.Response(body=b"<html>Bad gateway</html>", content_type="text/html")
    if fault == "incomplete":
        return web.json_response({"cod": 200, "coord": json.loads(body)["coord"], "dt": 1})
    if fault != "truncated":
        return web.Response(body=body, content_type="application/json")
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport
    request.transport.close()
    return response


async def _weather(request: web.Request) -> web.StreamResponse:
    fault = request.match_info.get("fault", "")
    if fault and fault not in FAULTS:
        return _error(404, f"no such fault: {fault}; there are {', '.join(FAULTS)}")
    if request.query.get("appid") not in request.app[KEYS]:
        return _error(401, MESSAGES[401])
    lat, lon = _place(request)
    body = json.dumps(weather_at(lat, lon, time.time(), request.query.get("units", "standard"))).encode()
    if not fault and request.app[CHANCE].random() < request.app[FAULT_RATE]:
        fault = request.app[CHANCE].choice(FAULTS)
    return await _fail(request, fault, body) if fault else web.Response(body=body, content_type="application/json")


KEYS = web.AppKey("keys", set[str])
FAULT_RATE = web.AppKey("fault_rate", float)
CHANCE = web.AppKey("chance", random.Random)


def application(keys: set[str], fault_rate: float = 0.0) -> web.Application:
    """The simulator as an aiohttp application."""
    app = web.Application()
    app[KEYS], app[FAULT_RATE], app[CHANCE] = keys, fault_rate, random.Random(1)
    app.router.add_get("/data/2.5/weather", _weather)
    app.router.add_get("/{fault}/data/2.5/weather", _weather)
    return app


def main() -> None:
    keys = set(os.environ.get("SIMULATOR_KEYS", "simulated-key").split(","))
    rate = float(os.environ.get("SIMULATOR_FAULT_RATE", "0"))
    port = int(os.environ.get("SIMULATOR_PORT", "8080"))
    web.run_app(application(keys, rate), port=port, access_log=None)


if __name__ == "__main__":
    main()
