"""A stream of numbers from a ThingVisor to a tenant's client, and the account of what became of it.

helloworld counts at 200 messages a second; the tenant notes every number. Numbers restart at 1 with a new ThingVisor
process, so the account is kept per life. Neighbour: :mod:`.test_faults` breaks things meanwhile.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.support.system import System
from tests.support.tenant import Refused, Tenant

RATE = 200
"""Messages per second of the counted entity."""


class Account(NamedTuple):
    """What the tenant saw: numbers that never came, numbers that came again, and numbers in all."""

    missing: int
    duplicates: int
    received: int


@dataclass
class Life:
    """The numbers of one ThingVisor process."""

    first: int
    last: int
    seen: set[int] = field(default_factory=set)
    again: int = 0


def account(numbers: Iterable[int]) -> Account:
    """Count holes and repetitions; a fall back to a number near the start begins a new life."""
    lives: list[Life] = []
    for number in numbers:
        if not lives or (number <= RATE and number < lives[-1].last - 10 * RATE):
            lives.append(Life(number, number))
        life = lives[-1]
        life.again += number in life.seen
        life.seen.add(number)
        life.last = max(life.last, number)
    missing = sum(life.last - life.first + 1 - len(life.seen) for life in lives)
    return Account(missing, sum(life.again for life in lives), sum(len(life.seen) for life in lives))


class Stream:
    """Listens in a thread, reconnects like any tenant's program, and remembers every number with its time."""

    def __init__(self, system: System, namespace: str, silo: str) -> None:
        self._system, self._namespace, self._silo = system, namespace, silo
        self._numbers: list[tuple[float, int]] = []
        self._more = threading.Condition()
        self._stop = threading.Event()
        self._endpoint = system.get("vsilo", silo, namespace)["status"]["endpoint"]["external"]
        self._keys = system.secret(f"{silo}-credentials", namespace)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def wait_for(self, wanted: Callable[[float, int], bool], timeout: float) -> float:
        """When the first number from now on that `wanted(time, number)` accepts came (monotonic seconds)."""
        end = time.monotonic() + timeout
        with self._more:
            position = len(self._numbers)
            while True:
                for at, number in self._numbers[position:]:
                    if wanted(at, number):
                        return at
                position = len(self._numbers)
                if not self._more.wait(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"the stream did not come back in {timeout} s")

    def flow_for(self, seconds: float) -> None:
        """Return once numbers have come for that long."""
        start = time.monotonic()
        self.wait_for(lambda at, _: at >= start + seconds, seconds + 60)

    def numbers(self) -> list[int]:
        """Every number so far, in the order of arrival."""
        with self._more:
            return [number for _, number in self._numbers]

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                tenant = Tenant(self._endpoint, self._keys["user"], self._keys["password"], self._keys["ca.crt"])
                tenant.connect(5)
            except (OSError, Refused, TimeoutError):
                self._stop.wait(0.05)  # the tenant's broker may be the one that was killed
                continue
            try:
                tenant.subscribe("#")
                self._note(tenant)
            except (OSError, Refused, TimeoutError):
                pass
            finally:
                tenant.close()

    def _note(self, tenant: Tenant) -> None:
        while not self._stop.is_set() and not tenant.disconnected.is_set():
            try:
                message = tenant.next(0.5)
            except TimeoutError:
                continue
            entity = json.loads(message.payload)
            if "counter" in entity and not message.retain:
                with self._more:
                    self._numbers.append((message.at, int(entity["counter"]["value"])))
                    self._more.notify_all()
