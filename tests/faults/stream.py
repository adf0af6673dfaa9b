"""A stream of numbers from a ThingVisor to a tenant's client, and the account of what became of it.

helloworld counts at 200 messages a second; the tenant notes every number with the time it came and how old it was.
Numbers restart at 1 with a new ThingVisor process, so the account is kept per life. Neighbour: :mod:`.test_faults`
breaks things meanwhile.
"""

import json
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from tests.support.system import System
from tests.support.tenant import Message, Refused, Tenant

RATE = 200
"""Messages per second of the counted entity."""
LATE_S = 0.5
"""A number that is older than this when it comes, or comes this long after the one before, was held up."""

QUIET_S = 3.0
"""Seconds of numbers on time after which a fault is over."""


class Number(NamedTuple):
    """One number at the tenant: when it came (s, monotonic), and its age then (s since the source made it)."""

    at: float
    number: int
    age: float


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


def fresh_again(numbers: Sequence[Number], since: float) -> float:
    """When the last number came that was held up because of what happened at ``since``; ``since`` when none was.

    What is held up after the numbers had been fresh for :data:`QUIET_S` has another cause (a busy machine).
    """
    end = since
    for before, number in pairwise(numbers):
        held_up = max(number.age, number.at - before.at)
        if number.at >= since and held_up > LATE_S and number.at - held_up < end + QUIET_S:
            end = number.at
    return end


def longest_silence(numbers: Sequence[Number], since: float) -> float:
    """Seconds of the longest wait for a number that ended after ``since``."""
    return max(number.at - before.at for before, number in pairwise(numbers) if number.at >= since)


class Stream:
    """Listens in a thread, reconnects like any tenant's program, and remembers the numbers of every thing."""

    def __init__(self, system: System, namespace: str, silo: str) -> None:
        self._numbers: dict[str, list[Number]] = {}
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

    def wait_for(self, thing: str, after: float, timeout: float) -> float:
        """When the first number of this thing came that was made after that time (both in monotonic seconds)."""
        end = time.monotonic() + timeout
        with self._more:
            while True:
                for number in reversed(self._numbers.get(thing, [])[-RATE:]):
                    if number.at - number.age > after:
                        return number.at
                if not self._more.wait(max(0.0, end - time.monotonic())):
                    raise TimeoutError(f"no number of {thing} came in {timeout} s")

    def flow_for(self, thing: str, seconds: float, timeout: float = 60) -> None:
        """Return once a number has come that was made that much later than now."""
        self.wait_for(thing, time.monotonic() + seconds, seconds + timeout)

    def numbers(self, thing: str) -> list[Number]:
        """Every number of the thing so far, in the order of arrival."""
        with self._more:
            return list(self._numbers.get(thing, []))

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
            if message.payload and not message.retain:
                self._file(message)

    def _file(self, message: Message) -> None:
        entity = json.loads(message.payload)
        if counter := entity.get("counter"):
            made = datetime.fromisoformat(counter["observedAt"]).timestamp()
            came = time.time() - (time.monotonic() - message.at)
            thing = str(entity["id"]).split(":")[-2]
            with self._more:
                self._numbers.setdefault(thing, []).append(Number(message.at, int(counter["value"]), came - made))
                self._more.notify_all()
