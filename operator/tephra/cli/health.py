"""How an object of ours is doing, from its conditions as kstatus reads them. Pure."""

from collections.abc import Mapping
from enum import Enum
from typing import Any

Item = Mapping[str, Any]


class Health(Enum):
    """Value: the mark that a tree shows."""

    GOOD = "✓"
    WORKING = "…"
    BAD = "✗"
    NEUTRAL = "·"


def condition(item: Item, type_: str) -> Item:
    """The condition of that type, empty when there is none."""
    return next((each for each in conditions(item) if each["type"] == type_), {})


def conditions(item: Item) -> list[Item]:
    return list(item.get("status", {}).get("conditions") or ())


def is_current(item: Item) -> bool:
    """Whether the operator has finished with the newest spec."""
    return bool(item.get("status", {}).get("observedGeneration") == item["metadata"].get("generation"))


def health(item: Item) -> Health:
    """Of an object of ours."""
    if condition(item, "Stalled").get("status") == "True":
        return Health.BAD
    if item["metadata"].get("deletionTimestamp") or condition(item, "Reconciling").get("status") == "True":
        return Health.WORKING
    if not is_current(item):
        return Health.WORKING
    return Health.GOOD if condition(item, "Ready").get("status") == "True" else Health.BAD


def condition_health(found: Item) -> Health:
    """Of one condition: good when True, but for the two of kstatus."""
    good = "False" if found["type"] in ("Reconciling", "Stalled") else "True"
    return {good: Health.GOOD, "Unknown": Health.WORKING}.get(found["status"], Health.BAD)


def deployment_health(item: Item) -> Health:
    wanted = item.get("spec", {}).get("replicas", 1)
    return Health.GOOD if item.get("status", {}).get("readyReplicas", 0) >= wanted else Health.WORKING


def pod_health(item: Item) -> Health:
    if condition(item, "Ready").get("status") == "True":
        return Health.GOOD
    waiting = [each.get("state", {}).get("waiting", {}).get("reason", "") for each in containers(item)]
    broken = item.get("status", {}).get("phase") == "Failed" or any(
        word.endswith(("BackOff", "Error")) or word.startswith("Err") for word in waiting
    )
    return Health.BAD if broken else Health.WORKING


def containers(pod: Item) -> list[Item]:
    return list(pod.get("status", {}).get("containerStatuses") or ())
