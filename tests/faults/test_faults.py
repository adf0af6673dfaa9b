"""Kill things under a stream of 200 messages a second, and count what the tenant lost (issue row 5).

`make faults` prints a line per fault, and the table at the end:

* `missing`, `duplicates`: sequence numbers at the tenant. Only the death of its own broker may cost it messages.
* `wedged`: how many of these did not come back: the data, changes of the spec, the conditions.
* `seconds_to_recover`: from the kill, or from the end of an outage, until data are fresh (`data_s`) and a vThing that
  is added to the silo's spec at that moment delivers (`change_s`: so operator, bus and controller all work; `api_s` of
  that until the API server took the change).
  After a namespace was deleted without an operator: until it is gone, and, from the operator's start, until the bus
  has forgotten it (`change_s`).
* `silence_s`: the longest time without a new value at the tenant, during the fault or after it.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.faults.estate import COUNTED, SPARE, Estate
from tests.faults.stream import RATE, Stream, account, fresh_again, longest_silence
from tests.faults.table import Table
from tests.support import core_bus
from tests.support.bed import Bed
from tests.support.system import NAMESPACE, System, hello, silo
from tests.support.tenant import Refused

pytestmark = pytest.mark.faults

SETTLE_S = 8
"""How long numbers must flow before a fault and after recovery: longer than any repair takes."""
PATIENCE_S = 90
"""What has not come back by then, counts as wedged."""


@pytest.fixture(scope="module")
def estate(system: System, cluster: Bed) -> Iterator[Estate]:
    with system.namespace("faults") as namespace:
        system.apply(hello(namespace, COUNTED, rate=RATE, things=[COUNTED]))
        system.apply(hello(namespace, SPARE, period=0.05, things=[SPARE]))
        made = Estate(system, namespace, cluster)
        made.attach(COUNTED)
        made.settle()
        yield made


def _operator(estate: Estate) -> float:
    return estate.kill(NAMESPACE, "app.kubernetes.io/component=operator", "tephra")


def _bus(estate: Estate) -> float:
    return estate.kill(NAMESPACE, "app.kubernetes.io/component=bus", "mosquitto")


def _silo_broker(estate: Estate) -> float:
    return estate.kill(estate.namespace, "app.kubernetes.io/component=vsilo", "mosquitto")


def _silo_controller(estate: Estate) -> float:
    return estate.kill(estate.namespace, "app.kubernetes.io/component=vsilo", "tephra.silos")


def _thing_visor(estate: Estate) -> float:
    return estate.kill(estate.namespace, f"tephra.dev/owner-name=thingvisor.{COUNTED}", "helloworld")


def _api_server(estate: Estate) -> float:
    return estate.outage(120, "kube-apiserver")


def _kubelet(estate: Estate) -> float:
    [pod] = estate.system.list("pods", estate.namespace, "app.kubernetes.io/component=vsilo")
    return estate.outage(300, "kubelet", "--node", pod["spec"]["nodeName"])


@pytest.mark.parametrize(
    ("what", "fault", "may_lose"),
    [
        ("kill -9 operator", _operator, False),
        ("kill -9 core broker", _bus, False),
        ("kill -9 silo broker", _silo_broker, True),
        ("kill -9 silo controller", _silo_controller, False),
        ("kill -9 ThingVisor", _thing_visor, False),
        ("API server down 2 min", _api_server, False),
        ("kubelet down 5 min", _kubelet, False),
    ],
    ids=["operator", "core-broker", "silo-broker", "silo-controller", "thingvisor", "api-server", "kubelet"],
)
def test_nothing_is_lost(
    estate: Estate, table: Table, what: str, fault: Callable[[Estate], float], may_lose: bool
) -> None:
    with Stream(estate.system, estate.namespace, "home") as stream:
        stream.flow_for(COUNTED, SETTLE_S)
        broken = time.monotonic()
        over = fault(estate)
        api_s, change_s = _change(estate, stream, over)
        flows = _flows(stream)
        conditions = estate.wedged()
        numbers = stream.numbers(COUNTED)
    counted = account(each.number for each in numbers)
    data_s = fresh_again(numbers, over) - over
    row = {"fault": what, **counted._asdict(), "wedged": conditions + (not flows) + (change_s is None)}
    row["seconds_to_recover"] = round(max(0.0, data_s, change_s or PATIENCE_S), 2)
    row["data_s"], row["change_s"] = round(max(0.0, data_s), 2), round(change_s or PATIENCE_S, 2)
    row["api_s"] = round(api_s, 2)
    row["silence_s"] = round(longest_silence(numbers, broken), 2)
    table.add(row)
    assert row["wedged"] == 0
    assert may_lose or counted.missing == 0


def _change(estate: Estate, stream: Stream, over: float) -> tuple[float, float | None]:
    """Attach another vThing: seconds until the API server takes that, and until it delivers (None if it does not).

    It is detached again.
    """
    estate.attach_at_last(COUNTED, SPARE)
    taken = time.monotonic() - over
    try:
        return taken, stream.wait_for(SPARE, over, PATIENCE_S) - over
    except TimeoutError as failure:
        print(f"attached vThing: {failure}", file=sys.stderr)
        return taken, None
    finally:
        estate.attach(COUNTED)


def _flows(stream: Stream) -> bool:
    try:
        stream.flow_for(COUNTED, SETTLE_S, PATIENCE_S)
    except TimeoutError as failure:
        print(f"the stream: {failure}", file=sys.stderr)
        return False
    return True


def test_operator_down_while_a_namespace_goes(estate: Estate, table: Table) -> None:
    """Nothing waits for the operator: no finalizers. When it is back, the bus forgets the silo and the ThingVisor."""
    system = estate.system
    with core_bus.forwarded(system) as port, system.namespace("gone") as namespace:
        system.apply(hello(namespace, "source", period=0.2), silo(namespace, "home", f"{namespace}/source/hello"))
        system.wait("vsilo", "home", namespace)
        identities = [system.secret(name, namespace) for name in ("silo-home-bus", "tv-source-bus")]
        with estate.without_operator():
            started = time.monotonic()
            deleted = system.run("kubectl", "delete", "namespace", namespace, "--timeout=60s", check=False)
            took = time.monotonic() - started
            forgotten = _forgotten_after(estate, port, namespace, identities)
        row: dict[str, Any] = {"fault": "operator down, namespace deleted"}
        row["wedged"] = (deleted.returncode != 0) + (forgotten is None)
        row["seconds_to_recover"], row["change_s"] = round(took, 2), round(forgotten or PATIENCE_S, 2)
        table.add(row)
        assert row["wedged"] == 0, deleted.stderr
        _is_refused(port, identities)
        system.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        system.apply(silo(namespace, "home", f"{estate.namespace}/{COUNTED}/{COUNTED}"))
        system.wait("vsilo", "home", namespace)  # the name can be used again


def _forgotten_after(
    estate: Estate, port: int, namespace: str, identities: Sequence[Mapping[str, str]]
) -> float | None:
    """Start the operator; seconds until the bus holds neither the namespace's identities nor its retained messages.

    None: it still does after :data:`PATIENCE_S`.
    """
    with (
        core_bus.as_administrator(estate.system, port) as administrator,
        core_bus.as_identity(port, identities[0]) as silo_left,
        core_bus.as_identity(port, identities[1]) as source_left,
    ):
        held = {topic for topic in core_bus.retained(administrator) if topic.split("/")[1].startswith(f"{namespace}.")}
        assert {topic.split("/")[0] for topic in held} == {"TV", "vSilo", "vThing"}
        started = time.monotonic()
        estate.start_operator()
        try:
            while held:
                cleared = administrator.until(lambda message: message.topic in held and not message.payload, PATIENCE_S)
                held.remove(cleared.topic)
        except TimeoutError as failure:
            print(f"still retained: {sorted(held)}: {failure}", file=sys.stderr)
            return None
        cut_off = silo_left.disconnected.wait(PATIENCE_S) and source_left.disconnected.wait(PATIENCE_S)
        return time.monotonic() - started if cut_off else None


def _is_refused(port: int, identities: Sequence[Mapping[str, str]]) -> None:
    for identity in identities:
        with pytest.raises(Refused) as refusal, core_bus.as_identity(port, identity):
            pass
        assert refusal.value.code == core_bus.NOT_AUTHORIZED
