"""Who is planned again when something changes: indexes of the caches, dependents of objects, and of reports.

A child's change reaches its owner through the owner's labels (:mod:`tephra.reconcile.loop`); here is all the rest.
Planning too much is harmless, since an unchanged plan does nothing; planning too little leaves an object stale.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from tephra.api import labels
from tephra.bus.messages import ThingVisorReport
from tephra.formats.names import parse_bus_identity
from tephra.plan.base import Dependents, Index, Key, Object, View
from tephra.plan.children import is_ours
from tephra.plan.thingvisor import VTHINGS_OF

SILOS_BY_FLAVOUR = "vsilos-by-flavour"
SILOS_BY_THING = "vsilos-by-vthing"
"""VSilos under the ids of the vThings that they list."""
SILOS_BY_VISOR = "vsilos-by-thingvisor"
"""VSilos under ``namespace/thingVisor`` of the vThings that they list."""
SILOS_BY_EXPOSURE = "vsilos-by-exposure"
VISORS_BY_TYPE = "thingvisors-by-type"


def _thing_ids(silo: Object) -> list[str]:
    return [ref["id"] for ref in silo["spec"].get("vThings") or ()]


INDEXES: tuple[Index, ...] = (
    Index(SILOS_BY_FLAVOUR, "VSilo", lambda item: [item["spec"]["flavour"]]),
    Index(SILOS_BY_THING, "VSilo", _thing_ids),
    Index(SILOS_BY_VISOR, "VSilo", lambda item: {id_.rsplit("/", id_.count("/") - 1)[0] for id_ in _thing_ids(item)}),
    Index(SILOS_BY_EXPOSURE, "VSilo", lambda item: [item["spec"].get("exposure", "ClusterIP")]),
    Index(VISORS_BY_TYPE, "ThingVisor", lambda item: [item["spec"]["type"]]),
    Index(VTHINGS_OF, "VThing", lambda item: [f"{_namespace(item)}/{item['spec']['id'].partition('/')[0]}"]),
)


def _namespace(item: Object) -> str:
    return str(item["metadata"]["namespace"])


def _keys(items: Iterable[Object]) -> Iterator[Key]:
    return map(Key.of, items)


def _of_flavour(item: Object, view: View) -> Iterable[Key]:
    return _keys(view.indexed(SILOS_BY_FLAVOUR, item["metadata"]["name"]))


def _of_type(item: Object, view: View) -> Iterable[Key]:
    return _keys(view.indexed(VISORS_BY_TYPE, item["metadata"]["name"]))


def _of_visor(item: Object, view: View) -> Iterable[Key]:
    """Access and existence bear on its VThings and on the VSilos that name them."""
    name = f"{_namespace(item)}/{item['metadata']['name']}"
    return _keys(chain(view.indexed(VTHINGS_OF, name), view.indexed(SILOS_BY_VISOR, name)))


def _of_vthing(item: Object, view: View) -> Iterable[Key]:
    """The VSilos that list it; and its ThingVisor, which is asked to make it when a person wrote it."""
    namespace, id_ = _namespace(item), item["spec"]["id"]
    yield from _keys(view.indexed(SILOS_BY_THING, f"{namespace}/{id_}"))
    if not is_ours(item):
        yield Key("ThingVisor", namespace, id_.partition("/")[0])


def _of_deployment(item: Object, view: View) -> Iterable[Key]:
    """A ThingVisor's VThings are served while it has a ready pod."""
    kind, _, name = ((item["metadata"].get("labels") or {}).get(labels.OWNER_NAME) or "").partition(".")
    return _keys(view.indexed(VTHINGS_OF, f"{_namespace(item)}/{name}")) if kind == "thingvisor" else ()


def _of_node(item: Object, view: View) -> Iterable[Key]:
    """Endpoints of NodePort silos may name the address of a node."""
    return _keys(view.indexed(SILOS_BY_EXPOSURE, "NodePort"))


def _of_namespace(item: Object, view: View) -> Iterable[Key]:
    """Its labels may grant access."""
    return _keys(view.all("VSilo", item["metadata"]["name"]))


DEPENDENTS: Mapping[str, Dependents] = {
    "Flavour": _of_flavour,
    "ThingVisorType": _of_type,
    "ThingVisor": _of_visor,
    "VThing": _of_vthing,
    "Deployment": _of_deployment,
    "Node": _of_node,
    "Namespace": _of_namespace,
}


def visor_reported(
    identity: str, before: ThingVisorReport | None, after: ThingVisorReport | None, view: View
) -> Iterator[Key]:
    """Whom a ThingVisor's report concerns: itself, and the VThings and VSilos of what it says something new about."""
    namespace, name = parse_bus_identity(identity)
    yield Key("ThingVisor", namespace, name)
    visor = f"{namespace}/{name}"
    changed = _changed(before, after)
    for item in view.indexed(VTHINGS_OF, visor):
        if changed is None or item["spec"]["id"].partition("/")[2] in changed:
            yield Key.of(item)
    if changed is None:
        yield from _keys(view.indexed(SILOS_BY_VISOR, visor))
    for thing in changed or ():
        yield from _keys(view.indexed(SILOS_BY_THING, f"{visor}/{thing}"))


def _changed(before: ThingVisorReport | None, after: ThingVisorReport | None) -> set[str] | None:
    """The things of which two reports say different things; None when that may be any."""
    if before is None or after is None or before.epoch != after.epoch:
        return None
    things = before.by_thing.keys() | after.by_thing.keys()
    changed = {thing for thing in things if before.by_thing.get(thing) != after.by_thing.get(thing)}
    failed = set(before.failures) ^ set(after.failures)
    return changed | {failure.thing for failure in failed}
