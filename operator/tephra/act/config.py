"""The operator's configuration, from environment variables that the chart sets (contracts §7).

Every mistake is found at start and reported at once, with the variable's name and what would be right.
Neighbours: :mod:`tephra.app` reads it first; planners see its :class:`tephra.plan.base.Settings`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tephra.bus.mqtt import Address
from tephra.plan.base import Settings

_PREFIX = "TEPHRA_"
_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ConfigError(ValueError):
    """The environment is wrong; the message lists every mistake."""


@dataclass(frozen=True, slots=True)
class Config:
    """See contracts §7 for the variables."""

    settings: Settings
    bus_managed: bool
    """The chart runs the broker, so its certificate and first account are ours to make."""
    authoriser: Literal["dynsec", "static"]
    bus_dir: Path | None
    """Files ``username``, ``password`` and, if needed, ``ca.crt`` of a bus that is not managed."""
    catalogue_dir: Path | None
    health_port: int
    log_format: Literal["json", "text"]


def read(environ: Mapping[str, str]) -> Config:
    """Raises :class:`ConfigError`."""
    variables = _Variables(environ)
    namespace = variables.get("NAMESPACE", _own_namespace(), str)
    domain = variables.get("CLUSTER_DOMAIN", "cluster.local", str)
    managed = variables.get("BUS_MANAGED", True, _boolean)
    config = Config(
        settings=Settings(
            namespace=namespace,
            bus_url=variables.get("BUS_URL", f"mqtts://tephra-bus.{namespace}.svc.{domain}:8883", _bus_url),
            cluster_domain=domain,
            external_address=variables.get("EXTERNAL_ADDRESS", "", str),
        ),
        bus_managed=managed,
        authoriser=variables.get("AUTHORISER", "dynsec", _one_of("dynsec", "static")),
        bus_dir=variables.get("BUS_DIR", None, _directory),
        catalogue_dir=variables.get("CATALOGUE_DIR", None, _directory),
        health_port=variables.get("HEALTH_PORT", 8080, _port),
        log_format=variables.get("LOG_FORMAT", "json", _one_of("json", "text")),
    )
    if not variables.mistakes:
        variables.mistakes += _contradictions(config)
    if variables.mistakes:
        raise ConfigError("the operator's configuration is wrong: " + "; ".join(variables.mistakes))
    return config


def _contradictions(config: Config) -> list[str]:
    if config.bus_managed and config.authoriser == "static":
        return ["TEPHRA_AUTHORISER=static is for a bus of your own: the bus of the chart is authorised by dynsec"]
    if not config.bus_managed and config.bus_dir is None:
        return [
            "TEPHRA_BUS_DIR is missing: a bus of your own (TEPHRA_BUS_MANAGED=false) needs a directory with the"
            " files username and password"
        ]
    return []


class _Variables:
    """Reads variables by name and collects what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.mistakes: list[str] = []

    def get(self, name: str, default: Any, parse: Callable[[str], Any]) -> Any:
        """The default also when the text is wrong: the mistake is reported at the end."""
        text = self._environ.get(_PREFIX + name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.mistakes.append(f"{_PREFIX}{name}={text}: {error}")
            return default


def _own_namespace() -> str:
    try:
        return _SERVICE_ACCOUNT_NAMESPACE.read_text().strip()
    except OSError:
        return "tephra-system"


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError("want true or false")
    return text.lower() == "true"


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"want {' or '.join(choices)}")
        return text

    return parse


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ValueError("want a port number from 1 to 65535")
    return int(text)


def _directory(text: str) -> Path:
    if not (path := Path(text)).is_dir():
        raise ValueError("no such directory; is the volume mounted?")
    return path


def _bus_url(text: str) -> str:
    Address(text)  # raises, and says what a broker URL looks like
    return text
