"""The core bus, dialled from the test through a forwarded port, which goes round every NetworkPolicy.

Users: `tests/cluster/test_tenancy.py` (what identities may do) and `tests/faults` (which identities are left).
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

from tephra.act.authorisers.dynsec import BOOTSTRAP
from tephra.bus import topics
from tests.support.system import NAMESPACE, System
from tests.support.tenant import Tenant, connected

NOT_AUTHORIZED = 135
"""MQTT 5 reason code (§2.4)."""
_CONTROL = (topics.TV_IN_FILTER, topics.TV_OUT_FILTER, topics.SILO_IN_FILTER, topics.SILO_OUT_FILTER)
_EVERYTHING = (*_CONTROL, topics.DATA_OUT_FILTER, topics.MARK)


@contextmanager
def forwarded(system: System) -> Iterator[int]:
    """The core bus on a local port."""
    command = [f"{system.assets}/kubectl", "--kubeconfig", system.kubeconfig, "-n", NAMESPACE]
    command += ["port-forward", "svc/tephra-bus", ":8883"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(10)


def url(port: int) -> str:
    """Its address here; the certificate names `localhost` for this."""
    return f"mqtts://localhost:{port}"


def as_identity(port: int, keys: Mapping[str, str], will: str = "") -> AbstractContextManager[Tenant]:
    """A client with the bus credentials of a decoded Secret, under the identity's own client id."""
    user = keys["username"]
    return connected(url(port), user, keys["password"], keys["ca.crt"], user, will=will)


def as_administrator(system: System, port: int) -> AbstractContextManager[Tenant]:
    """The bus's first account, with the password for administrators in Secret `tephra-bus`."""
    keys = system.secret("tephra-bus", NAMESPACE)
    return connected(url(port), BOOTSTRAP, keys["bootstrap-password"], keys["ca.crt"])


def retained(administrator: Tenant) -> set[str]:
    """Every topic of ours that holds a retained message. The administrator stays subscribed to what follows."""
    for topic_filter in _EVERYTHING:
        administrator.subscribe(topic_filter)
    administrator.publish(topics.MARK, b"the test")
    administrator.until(lambda message: message.payload == b"the test")  # the broker keeps the order
    return {message.topic for message in administrator.messages if message.retain}
