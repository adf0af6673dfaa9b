"""Prometheus metrics of the engine and of the API client; :mod:`.health` serves them.

Names are the contract with the shipped dashboards and alert rules. The condition gauges are counted from the cache
when they are scraped, so that a pass costs nothing for them.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tephra.reconcile.loop import Engine, Leader
from tephra.reconcile.queue import Priority, Taken

_SECONDS = (0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)


class Metrics:
    """Everything that is counted as it happens; implements the engine's `Meter` and the client's observer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._waited = Histogram(
            "tephra_queue_wait_seconds",
            "Time that keys waited in the queue.",
            ["priority"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._passes = Counter(
            "tephra_reconcile", "Passes, by kind and result.", ["kind", "result"], registry=self.registry
        )
        self._seconds = Histogram(
            "tephra_reconcile_seconds",
            "Duration of passes.",
            ["kind"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._requests = Counter(
            "tephra_kube_requests",
            "Requests to the API server; code 0: no answer.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "tephra_kube_request_seconds",
            "Duration of requests to the API server.",
            ["verb"],
            buckets=_SECONDS,
            registry=self.registry,
        )

    def passed(self, taken: Taken, result: str, seconds: float) -> None:
        kind = taken.key.kind
        self._waited.labels(taken.priority.name.lower()).observe(taken.waited)
        self._passes.labels(kind, result).inc()
        self._seconds.labels(kind).observe(seconds)

    def requested(self, verb: str, kind: str, code: int, seconds: float) -> None:
        self._requests.labels(verb, kind, str(code)).inc()
        if verb not in {"watch", "logs"}:  # these last as long as they last
            self._latency.labels(verb).observe(seconds)

    def watch(self, engine: Engine, leader: Leader, kinds: Sequence[str], own: Sequence[str]) -> None:
        """Add the gauges that are read off the engine at each scrape; conditions are counted of ``own`` kinds."""
        self.registry.register(_Gauges(engine, leader, kinds, own))


class _Gauges(Collector):
    """The state of the engine at the moment of the scrape."""

    def __init__(self, engine: Engine, leader: Leader, kinds: Sequence[str], own: Sequence[str]) -> None:
        self._engine, self._leader, self._kinds, self._own = engine, leader, kinds, own

    def collect(self) -> Iterable[Metric]:
        queue = self._engine.queue
        yield _gauge("tephra_leader", "1 while this process holds the Lease.", {(): int(self._leader.held)})
        depth: dict[tuple[str, ...], int] = {(each.name.lower(),): queue.depth(each) for each in Priority}
        yield _gauge("tephra_queue_depth", "Keys ready, by class.", depth, "priority")
        yield _gauge("tephra_queue_delayed", "Keys that wait for a backoff or a time.", {(): queue.delayed})
        yield _gauge("tephra_queue_active", "Keys in the hands of workers.", {(): queue.held})
        yield _gauge("tephra_queue_retries", "Repetitions after a failure so far.", {(): queue.retries})
        yield _gauge("tephra_objects", "Objects in the cache.", self._objects(), "kind")
        yield _gauge(
            "tephra_condition",
            "Objects that have a condition in this state.",
            self._conditions(),
            "kind",
            "type",
            "status",
            "reason",
        )

    def _objects(self) -> dict[tuple[str, ...], int]:
        return {(kind,): self._engine.cache.count(kind) for kind in self._kinds}

    def _conditions(self) -> dict[tuple[str, ...], int]:
        tally: Tally[tuple[str, ...]] = Tally()
        for kind in self._own:
            for item in self._engine.cache.all(kind):
                for each in (item.get("status") or {}).get("conditions") or ():
                    tally[kind, each["type"], each["status"], each.get("reason", "")] += 1
        return dict(tally)


def _gauge(name: str, text: str, values: dict[tuple[str, ...], int], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
