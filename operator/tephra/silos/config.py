"""The controller's settings, from the environment and the files of contracts §2. Neighbour: :mod:`.__main__`."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tephra.formats.names import InvalidName, parse_bus_identity


class ConfigError(ValueError):
    """The pod was started wrongly; the message names the variable or file and what belongs there."""


class Settings(NamedTuple):
    """What the pod tells its controller."""

    silo: str
    """Bus identity, ``<namespace>.<name>``."""
    tenant: str
    """The tenant's namespace."""
    protocol: str
    dialect: str
    bus_dir: Path
    """Files ``url``, ``username``, ``password``, ``ca.crt`` of the core bus."""
    broker_url: str
    """The broker beside us."""
    broker_dir: Path
    """Files ``username``, ``password``, ``epoch`` for that broker."""
    health_port: int
    text_logs: bool


def read(environ: Mapping[str, str]) -> Settings:
    """Settings of a process environment; :class:`ConfigError` when one is missing or wrong."""
    silo = _required(environ, "TEPHRA_IDENTITY", "the silo's identity, <namespace>.<name>")
    try:
        tenant, _ = parse_bus_identity(silo)
    except InvalidName as error:
        raise ConfigError(f"TEPHRA_IDENTITY={silo!r} is not of the form <namespace>.<name>: {error}") from error
    port = environ.get("TEPHRA_HEALTH_PORT", "8080")
    if not port.isdecimal():
        raise ConfigError(f"TEPHRA_HEALTH_PORT={port!r} is not a port number")
    return Settings(
        silo=silo,
        tenant=tenant,
        protocol=_required(environ, "TEPHRA_PROTOCOL", "the protocol of the flavour, for example mqtt"),
        dialect=environ.get("TEPHRA_DIALECT", ""),
        bus_dir=Path(environ.get("TEPHRA_BUS_DIR", "/etc/tephra/bus")),
        broker_url=environ.get("TEPHRA_BROKER_URL", "mqtt://127.0.0.1:1883"),
        broker_dir=Path(environ.get("TEPHRA_BROKER_DIR", "/etc/tephra/controller")),
        health_port=int(port),
        text_logs=environ.get("TEPHRA_LOG_FORMAT", "json") == "text",
    )


def _required(environ: Mapping[str, str], name: str, what: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigError(f"environment variable {name} is missing: {what}")
    return value
