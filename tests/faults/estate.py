"""One silo and its two sources in a namespace of their own: how they are broken, changed and looked at.

`counted` is the stream that is counted; `spare` is attached to show that a change of the spec is followed.
Neighbours: :mod:`.test_faults`, :mod:`.stream`.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.bed import Bed
from tests.support.system import NAMESPACE, System, silo

COUNTED, SPARE = "counted", "spare"


@dataclass(frozen=True)
class Estate:
    """ThingVisors `counted` and `spare`, VSilo `home`."""

    system: System
    namespace: str
    cluster: Bed

    def kill(self, namespace: str, selector: str, program: str) -> float:
        """kill -9 of the program's processes in the one pod that the selector names; when (s, monotonic)."""
        found = [
            pod for pod in self.system.list("pods", namespace, selector) if "deletionTimestamp" not in pod["metadata"]
        ]
        assert len(found) == 1, f"{len(found)} pods for {selector} in {namespace}"
        victims = [pid for pid in _processes(found[0]["metadata"]["uid"]) if program in _command(pid)]
        assert victims, f"no process {program!r} in pod {selector}"
        killed = time.monotonic()
        for pid in victims:
            with suppress(ProcessLookupError):  # it went with the one before
                os.kill(pid, signal.SIGKILL)
        return killed

    def outage(self, seconds: float, component: str, *where: str) -> float:
        """Keep a component of the cluster down for that long; when it was started again (s, monotonic)."""
        self.cluster.command("stop", component, *where)
        try:
            time.sleep(seconds)  # the outage itself
        finally:
            started = time.monotonic()
            self.cluster.command("start", component, *where)
        return started

    def attach(self, *things: str) -> None:
        """Have the silo serve these things."""
        self.system.apply(silo(self.namespace, "home", *(f"{self.namespace}/{thing}/{thing}" for thing in things)))

    def attach_at_last(self, *things: str) -> None:
        """The same as soon as the API server takes it."""
        end = time.monotonic() + 60
        while True:
            try:
                return self.attach(*things)
            except AssertionError:
                if time.monotonic() > end:
                    raise

    def settle(self) -> None:
        """Wait until everything is Ready on its newest spec."""
        for kind, name in self._objects():
            self.system.wait(kind, name, self.namespace)

    def wedged(self) -> int:
        """How many of its objects do not become Ready on their newest spec."""
        failures = 0
        for kind, name in self._objects():
            try:
                self.system.wait(kind, name, self.namespace)
            except AssertionError as failure:
                print(failure, file=sys.stderr)
                failures += 1
        return failures

    @contextmanager
    def without_operator(self) -> Iterator[None]:
        """No operator runs within the block; when it ends, or by :meth:`start_operator`, there is one again."""
        self._scale(0)
        self.system.kubectl(
            *("-n", NAMESPACE, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator")
        )
        try:
            yield
        finally:
            self.start_operator()
            self.system.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/tephra-operator", "--timeout=90s")

    def start_operator(self) -> None:
        """Ask for an operator; does not wait."""
        self._scale(1)

    def _scale(self, replicas: int) -> None:
        self.system.kubectl("-n", NAMESPACE, "scale", "deployment/tephra-operator", f"--replicas={replicas}")

    @staticmethod
    def _objects() -> tuple[tuple[str, str], ...]:
        return ("thingvisor", COUNTED), ("thingvisor", SPARE), ("vsilo", "home")


def _processes(uid: str) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if uid in (process / "cgroup").read_text():
                yield int(process.name)
        except OSError:
            continue


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
