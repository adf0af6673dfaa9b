"""Kill things under a stream of 200 messages a second, and count what the tenant lost (issue row 5).

`make faults` prints one line per fault: sequence numbers missing at the tenant, duplicates it saw, whether anything was
wedged, and the seconds until data flowed again. Only the death of the tenant's own broker may cost it messages.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.stream import RATE, Account, Stream, account
from tests.support.bed import Bed
from tests.support.system import NAMESPACE, System, hello, silo

pytestmark = pytest.mark.faults

SETTLE_S = 8
"""How long numbers must flow before a fault and after recovery: longer than any repair takes."""


@dataclass(frozen=True)
class Estate:
    """One source and one silo, in a namespace of their own."""

    system: System
    namespace: str
    cluster: Bed

    def pod(self, namespace: str, selector: str) -> str:
        """UID of the one pod that the selector names."""
        found = [
            pod for pod in self.system.list("pods", namespace, selector) if "deletionTimestamp" not in pod["metadata"]
        ]
        assert len(found) == 1, f"{len(found)} pods for {selector} in {namespace}"
        return str(found[0]["metadata"]["uid"])

    def kill(self, namespace: str, selector: str, program: str) -> None:
        """kill -9 of the program's processes in that pod, found by the pod's cgroup."""
        uid = self.pod(namespace, selector)
        victims = [pid for pid in _processes(uid) if program in _command(pid)]
        assert victims, f"no process {program!r} in pod {selector}"
        for pid in victims:
            os.kill(pid, signal.SIGKILL)


def _processes(uid: str) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if uid in (process / "cgroup").read_text():
                yield int(process.name)
        except OSError:
            continue


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


@pytest.fixture(scope="module")
def estate(system: System, cluster: Bed) -> Iterator[Estate]:
    with system.namespace("faults") as namespace:
        system.apply(hello(namespace, period=1 / RATE))
        system.apply(silo(namespace, "home", f"{namespace}/hello/hello"))
        system.wait("vsilo", "home", namespace)
        yield Estate(system, namespace, cluster)


def _operator(estate: Estate) -> None:
    estate.kill(NAMESPACE, "app.kubernetes.io/component=operator", "tephra")


def _bus(estate: Estate) -> None:
    estate.kill(NAMESPACE, "app.kubernetes.io/component=bus", "mosquitto")


def _silo_broker(estate: Estate) -> None:
    estate.kill(estate.namespace, "app.kubernetes.io/component=vsilo", "mosquitto")


def _silo_controller(estate: Estate) -> None:
    estate.kill(estate.namespace, "app.kubernetes.io/component=vsilo", "tephra.silos")


def _thing_visor(estate: Estate) -> None:
    estate.kill(estate.namespace, "app.kubernetes.io/component=thingvisor", "helloworld")


def _api_server(estate: Estate) -> None:
    estate.cluster.command("stop", "kube-apiserver")
    time.sleep(120)  # the outage itself
    estate.cluster.command("start", "kube-apiserver")


def _kubelet(estate: Estate) -> None:
    [pod] = estate.system.list("pods", estate.namespace, "app.kubernetes.io/component=vsilo")
    node = pod["spec"]["nodeName"]
    estate.cluster.command("stop", "kubelet", "--node", node)
    time.sleep(300)  # the outage itself
    estate.cluster.command("start", "kubelet", "--node", node)


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
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_nothing_is_lost(estate: Estate, what: str, fault: Callable[[Estate], None], may_lose: bool) -> None:
    with Stream(estate.system, estate.namespace, "home") as stream:
        stream.flow_for(SETTLE_S)
        before = time.monotonic()
        fault(estate)
        broken = max(before, time.monotonic() - 0.5)
        back = stream.wait_for(lambda at, _: at > broken, 180)
        stream.flow_for(SETTLE_S)
        wedged = [kind for kind, name in (("vsilo", "home"), ("thingvisor", "hello")) if not _ready(estate, kind, name)]
        counted = account(stream.numbers())
    _report(what, counted, len(wedged), back - broken)
    assert not wedged
    assert may_lose or counted.missing == 0


def _ready(estate: Estate, kind: str, name: str) -> bool:
    try:
        estate.system.wait(kind, name, estate.namespace)
    except AssertionError as failure:
        print(failure, file=sys.stderr)
        return False
    return True


def test_operator_down_while_a_namespace_goes(estate: Estate) -> None:
    """Nothing waits for the operator: no finalizers. When it is back, the bus forgets the silo."""
    system = estate.system
    with system.namespace("gone") as namespace:
        system.apply(silo(namespace, "home", f"{estate.namespace}/hello/hello"))
        system.wait("vsilo", "home", namespace)
        system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", "--replicas=0")
        system.kubectl("-n", NAMESPACE, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator")
        started = time.monotonic()
        try:
            done = system.run("kubectl", "delete", "namespace", namespace, "--timeout=60s", check=False)
            took = time.monotonic() - started
        finally:
            system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", "--replicas=1")
            system.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/tephra-operator", "--timeout=90s")
        system.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    _report("operator down, namespace deleted", None, int(done.returncode != 0), took)
    assert done.returncode == 0, done.stderr


def _report(what: str, counted: Account | None, wedged: int, seconds: float) -> None:
    counts = counted._asdict() if counted else {}
    row = {"fault": what, **counts, "wedged": wedged, "seconds_to_recover": round(seconds, 2)}
    print("\n" + json.dumps(row), flush=True)
