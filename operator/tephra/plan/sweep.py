"""What is left over on the bus: access and retained messages of objects that are gone.

There are no finalizers, so an object may vanish while the operator is away. The engine plans this after deletions and
at every resync, under a key of its own.
"""

from collections.abc import Iterable

from tephra.bus.topics import identity_of
from tephra.formats.names import bus_identity
from tephra.plan import silo_children, thingvisor_children
from tephra.plan.base import NOTHING, Action, BusForget, Key, Object, Plan, World
from tephra.plan.bus_state import clear


def plan(desired: Object | None, key: Key, world: World) -> Plan:
    """Forget every identity and every retained topic whose object does not exist."""
    if not world.bus.connected:
        return NOTHING
    visors, silos = _identities(world.all("ThingVisor")), _identities(world.all("VSilo"))
    users = {*map(thingvisor_children.user_of, visors), *map(silo_children.user_of, silos)}
    owners = {"TV": visors, "vThing": visors, "vSilo": silos}
    return Plan((*_forgotten(users, world.bus.identities), *_cleared(owners, world.bus.retained)))


def _identities(items: Iterable[Object]) -> frozenset[str]:
    return frozenset(bus_identity(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items)


def _forgotten(users: set[str], known: Iterable[str]) -> Iterable[Action]:
    return (BusForget(user) for user in sorted(set(known) - users))


def _cleared(owners: dict[str, frozenset[str]], retained: Iterable[str]) -> Iterable[Action]:
    return clear(topic for topic in retained if identity_of(topic) not in owners[topic.partition("/")[0]])
