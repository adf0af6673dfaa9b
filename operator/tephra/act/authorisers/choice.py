"""The driver that the administrator chose, and the account that it starts from (contracts §7 and §8)."""

from tephra.act import keys
from tephra.act.authorisers import Authoriser
from tephra.act.authorisers.dynsec import BOOTSTRAP, Dynsec
from tephra.act.authorisers.static import Static
from tephra.act.config import Config
from tephra.bus.client import Endpoint
from tephra.kube.client import Client
from tephra.plan.base import Keys


def authoriser(config: Config, kube: Client, derived: Keys) -> Authoriser:
    """Of the chart's bus, or of one of the administrator's own (``config.bus_dir``)."""
    url = config.settings.bus_url
    if config.bus_dir:
        first = Endpoint.read(config.bus_dir, url)
    else:
        first = Endpoint(url, BOOTSTRAP, keys.bootstrap_password(derived), ca_data=derived.bus_ca or None)
    if config.authoriser == "static":
        return Static(kube, config.settings.namespace, first, derived.mosquitto_hash)
    return Dynsec(first, lambda epoch: derived.password(keys.BUS, "operator", epoch))
