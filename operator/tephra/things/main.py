"""The process of a ThingVisor: settings from environment and files (contracts §2), logs, probes, signals."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tephra.bus.client import BusClient
from tephra.formats.names import parse_bus_identity
from tephra.pod import logs, probes
from tephra.things.runtime import Runtime
from tephra.things.thingvisor import ThingVisor

log = logging.getLogger(__name__)


class Settings(NamedTuple):
    """What the pod tells the process."""

    tv: str
    """Bus identity, ``<namespace>.<name>``."""
    bus_dir: Path
    secret_dir: Path | None
    health_port: int
    text_logs: bool


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Raises ValueError naming the variable that is missing or wrong."""
    tv = environ.get("TEPHRA_IDENTITY", "")
    if not tv:
        raise ValueError("environment variable TEPHRA_IDENTITY is missing: the ThingVisor's <namespace>.<name>")
    parse_bus_identity(tv)
    secret_dir = environ.get("TEPHRA_SECRET_DIR")
    return Settings(
        tv=tv,
        bus_dir=Path(environ.get("TEPHRA_BUS_DIR", "/etc/tephra/bus")),
        secret_dir=Path(secret_dir) if secret_dir else None,
        health_port=int(environ.get("TEPHRA_HEALTH_PORT", "8080")),
        text_logs=environ.get("TEPHRA_LOG_FORMAT", "json") == "text",
    )


async def serve(visor: type[ThingVisor], settings: Settings) -> None:
    """Run until TERM or INT."""
    runtime = Runtime(visor, settings.tv, BusClient(settings.bus_dir), settings.secret_dir)
    work = asyncio.create_task(runtime.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    server = await probes.serve(
        settings.health_port,
        lambda: probes.metrics("tephra_thingvisor", runtime.metrics_now()),
        lambda: runtime.not_ready,
    )
    try:
        await work
    except asyncio.CancelledError:
        log.info("stopped")
    finally:
        server.close()


def params_schema(visor: type[ThingVisor]) -> dict[str, Any]:
    """The JSON Schema of ``spec.params``, as it belongs in ``thingvisor.yaml``; without pydantic's titles."""

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(item) for item in node]
        if not isinstance(node, dict):
            return node
        return {key: plain(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}

    schema: dict[str, Any] = plain(visor.Params.model_json_schema())
    schema.pop("description", None)
    return schema


def run(visor: type[ThingVisor], arguments: Sequence[str] | None = None) -> None:
    """``if __name__ == "__main__": run(MyThingVisor)``. Exit status 2 when the pod was started wrongly."""
    parser = argparse.ArgumentParser(description=visor.__doc__)
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of spec.params and end")
    if parser.parse_args(arguments).schema:
        print(orjson.dumps(params_schema(visor), option=orjson.OPT_INDENT_2).decode())
        return
    try:
        settings = read_settings(os.environ)
        logs.set_up(text=settings.text_logs, thingvisor=settings.tv)
        asyncio.run(serve(visor, settings))
    except (ValueError, OSError) as error:
        print(f"{visor.__name__}: {error}", file=sys.stderr)
        sys.exit(2)
