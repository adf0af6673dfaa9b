"""The operator's environment: sensible alone, and every mistake named at once."""

from pathlib import Path

import pytest

from tephra.act.config import ConfigError, read


def test_nothing_set_is_the_chart_of_a_default_install() -> None:
    config = read({})
    assert config.settings.bus_url == "mqtts://tephra-bus.tephra-system.svc.cluster.local:8883"
    assert (config.bus_managed, config.authoriser, config.health_port, config.log_format) == (
        True,
        "dynsec",
        8080,
        "json",
    )


def test_everything_set(tmp_path: Path) -> None:
    config = read(
        {
            "TEPHRA_NAMESPACE": "iot",
            "TEPHRA_BUS_URL": "wss://bus.example.org/mqtt",
            "TEPHRA_BUS_MANAGED": "false",
            "TEPHRA_BUS_DIR": str(tmp_path),
            "TEPHRA_AUTHORISER": "static",
            "TEPHRA_CLUSTER_DOMAIN": "k8s.example.org",
            "TEPHRA_EXTERNAL_ADDRESS": "edge.example.org",
            "TEPHRA_CATALOGUE_DIR": str(tmp_path),
            "TEPHRA_HEALTH_PORT": "9090",
            "TEPHRA_LOG_FORMAT": "text",
        }
    )
    assert (config.settings.namespace, config.settings.external_address) == ("iot", "edge.example.org")
    assert (config.bus_dir, config.catalogue_dir, config.health_port) == (tmp_path, tmp_path, 9090)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("BUS_URL", "http://bus", "mqtt://host:port"),
        ("BUS_MANAGED", "maybe", "want true or false"),
        ("AUTHORISER", "opa", "want dynsec or static"),
        ("HEALTH_PORT", "70000", "port number"),
        ("LOG_FORMAT", "xml", "want json or text"),
        ("CATALOGUE_DIR", "/nowhere", "no such directory"),
        ("AUTHORISER", "static", "a bus of your own"),
        ("BUS_MANAGED", "false", "TEPHRA_BUS_DIR is missing"),
    ],
)
def test_a_mistake_is_named(variable: str, value: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        read({f"TEPHRA_{variable}": value})
    assert f"TEPHRA_{variable}" in str(caught.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"TEPHRA_HEALTH_PORT=x.*TEPHRA_LOG_FORMAT=y"):
        read({"TEPHRA_HEALTH_PORT": "x", "TEPHRA_LOG_FORMAT": "y"})
