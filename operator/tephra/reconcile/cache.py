"""What the cluster is known to hold: trimmed objects by key, with indexes, and what each event changed.

Role: kopf's events (:mod:`tephra.handlers`), the engine's own lists and the answers to its own writes all end in
:meth:`Cache.observe`, which says what really changed, so that the engine enqueues no key for nothing: repeated and
outdated events and echoes of our own status writes change nothing here. Objects are trimmed to what planners read;
a change of anything that was trimmed away is no change.

resourceVersions are compared as numbers, as Kubernetes allows since 1.35 (KEP-5504). So a list that is older than what
events have told meanwhile takes nothing back; only when etcd was restored from a backup (:meth:`Cache.replace` with
``rewound``) is everything known forgotten for the list.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any, NamedTuple

from tephra.api import labels
from tephra.plan.base import Index, Key
from tephra.reconcile.status import same

Object = dict[str, Any]


class What(Enum):
    """How an object changed."""

    APPEARED = "appeared"
    EDITED = "edited"
    """Spec, labels, annotations or the deletion mark."""
    REPORTED = "reported"
    """Only the status or other data."""
    ECHOED = "echoed"
    """Only the status, and we wrote it: news for others, not for the object itself."""
    VANISHED = "vanished"


class Change(NamedTuple):
    """One real change; ``item`` is the new state, or the last one known of what vanished."""

    what: What
    key: Key
    item: Object


@dataclass(frozen=True, slots=True)
class Trim:
    """Leave out what no planner reads; ``status`` names the parts of the status to keep (None: all)."""

    status: tuple[str, ...] | None = None
    conditions: tuple[str, ...] | None = None

    def __call__(self, item: Object) -> Object:
        meta = item["metadata"]
        meta.pop("managedFields", None)
        if notes := meta.get("annotations"):
            notes.pop("kubectl.kubernetes.io/last-applied-configuration", None)
        status = item.get("status")
        if self.status is not None and status:
            item["status"] = status = {name: status[name] for name in self.status if name in status}
        if self.conditions is not None and status and "conditions" in status:
            status["conditions"] = [
                {"type": each["type"], "status": each["status"]}
                for each in status["conditions"]
                if each["type"] in self.conditions
            ]
        return item


TRIMS: dict[str, Trim] = {
    # A node's image list and heartbeats are most of its bytes and nearly all of its events.
    "Node": Trim(status=("addresses", "conditions"), conditions=("Ready",)),
    "Namespace": Trim(status=("phase",)),
}
_WHOLE = Trim()


class Cache:
    """Objects of every watched kind. One event loop; a planner that does not await sees one moment of it."""

    def __init__(self, indexes: Iterable[Index] = ()) -> None:
        self._spaces: dict[str, dict[str, dict[str, Object]]] = defaultdict(dict)  # kind → namespace → name
        self._children: dict[str, dict[Key, Object]] = {}  # owner uid →
        self._indexes = {index.name: index for index in indexes}
        self._filed: dict[str, dict[str, dict[Key, Object]]] = {name: {} for name in self._indexes}
        self._by_kind: dict[str, list[Index]] = defaultdict(list)
        for index in self._indexes.values():
            self._by_kind[index.kind].append(index)
        self._expected: dict[Key, Any] = {}
        self._newest: dict[str, int] = {}

    # --- the View that planners and dependents read

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._spaces[kind].get(namespace, {}).get(name)

    def all(self, kind: str, namespace: str | None = None) -> Collection[Object]:
        spaces = self._spaces[kind]
        if namespace is not None:
            return spaces.get(namespace, {}).values()
        if len(spaces) == 1:
            return next(iter(spaces.values())).values()
        return list(chain.from_iterable(names.values() for names in spaces.values()))

    def children(self, owner_uid: str, kind: str | None = None) -> Collection[Object]:
        found = self._children.get(owner_uid, {})
        if kind is None:
            return found.values()
        return [item for key, item in found.items() if key.kind == kind]

    def indexed(self, index: str, value: str) -> Collection[Object]:
        return self._filed[index].get(value, {}).values()

    def count(self, kind: str) -> int:
        return sum(len(names) for names in self._spaces[kind].values())

    # --- changes

    def observe(self, item: Object, *, gone: bool = False) -> Change | None:
        """Take in an object as the API server sent it (it is trimmed in place and kept); None: nothing new.

        ``gone``: it was deleted.
        """
        key = Key.of(item)
        before = self.get(*key)
        if gone:
            return self._vanish(key, before, item)
        if before is not None and _outdated(before, item):
            return None
        self._newest[key.kind] = max(self.newest(key.kind), _version(item))
        item = TRIMS.get(key.kind, _WHOLE)(item)
        self._file(key, before, item)
        if before is None or before["metadata"]["uid"] != item["metadata"]["uid"]:
            return Change(What.APPEARED, key, item)
        what = _difference(before, item)
        if what is What.REPORTED and key in self._expected and same(self._expected[key], item.get("status")):
            what = What.ECHOED
        return Change(what, key, item) if what else None

    def replace(self, kind: str, items: Iterable[Object], version: int, *, rewound: bool = False) -> list[Change]:
        """Take in a complete list of a kind, made at ``version``: what was known before that and is not in it is gone.

        ``rewound``: the history was rewritten, so the list is right wherever it differs.
        """
        if rewound:
            self._rewind(kind)
        listed = {Key.of(item): item for item in items}
        vanished = [
            self._vanish(key, item, None)
            for key, item in ((Key.of(item), item) for item in list(self.all(kind)))
            if key not in listed and _version(item) <= version
        ]
        return [change for change in (*vanished, *map(self.observe, listed.values())) if change]

    def newest(self, kind: str) -> int:
        """The highest resourceVersion seen of a kind; a list asked for now cannot be older."""
        return self._newest.get(kind, 0)

    def _rewind(self, kind: str) -> None:
        """Make everything known of a kind older than anything that comes."""
        self._newest[kind] = 0
        for item in list(self.all(kind)):
            before = {**item, "metadata": {**item["metadata"], "resourceVersion": "0"}}
            self._file(Key.of(item), item, before)

    def expect(self, key: Key, status: Any) -> None:
        """We are about to write this status: the event that brings it is our own echo."""
        self._expected[key] = status

    def settle(self, key: Key, written: Object | None) -> Change | None:
        """The write is over; ``written`` is the API server's answer, if there was one.

        The answer is filed, so that its echo is outdated when it comes. Not filed: an answer that is about an
        object that is gone meanwhile, or that also brings an edit (its own event will tell).
        """
        self._expected.pop(key, None)
        before = self.get(*key)
        if written is None or before is None or before["metadata"]["uid"] != written["metadata"]["uid"]:
            return None
        if _outdated(before, written):
            return None
        item = TRIMS.get(key.kind, _WHOLE)(written)
        what = _difference(before, item)
        if what is What.EDITED:
            return None
        self._file(key, before, item)
        return Change(What.ECHOED, key, item) if what else None

    def _vanish(self, key: Key, before: Object | None, item: Object | None) -> Change | None:
        if before is None or (item and before["metadata"]["uid"] != item["metadata"]["uid"]):
            return None
        self._file(key, before, None)
        self._expected.pop(key, None)
        return Change(What.VANISHED, key, before)

    def _file(self, key: Key, before: Object | None, after: Object | None) -> None:
        names = self._spaces[key.kind].setdefault(key.namespace, {})
        if after is None:
            names.pop(key.name, None)
            if not names:
                del self._spaces[key.kind][key.namespace]
        else:
            names[key.name] = after
        _refile(self._children, key, _owners(before), _owners(after), after)
        for index in self._by_kind.get(key.kind, ()):
            _refile(self._filed[index.name], key, _values(index, before), _values(index, after), after)


def _values(index: Index, item: Object | None) -> Iterable[str]:
    return index.values(item) if item is not None else ()


def _owners(item: Object | None) -> Iterable[str]:
    if item is None:
        return ()
    owner = (item["metadata"].get("labels") or {}).get(labels.OWNER_UID)
    return (owner,) if owner else ()


def _refile(
    files: dict[str, dict[Key, Object]],
    key: Key,
    before: Iterable[str],
    after: Iterable[str],
    item: Object | None,
) -> None:
    for value in before:
        if (found := files.get(value)) is not None:
            found.pop(key, None)
            if not found:
                del files[value]
    if item is not None:
        for value in after:
            files.setdefault(value, {})[key] = item


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])


def _outdated(before: Object, item: Object) -> bool:
    return before["metadata"]["uid"] == item["metadata"]["uid"] and _version(item) <= _version(before)


_EDITABLE: tuple[Callable[[Object], Any], ...] = (
    lambda meta: meta.get("generation"),
    lambda meta: meta.get("deletionTimestamp"),
    lambda meta: meta.get("labels"),
    lambda meta: meta.get("annotations"),
)
_BOOKKEEPING = frozenset({"metadata", "apiVersion", "kind"})


def _difference(before: Object, after: Object) -> What | None:
    """What changed for a planner; kinds without a generation (Node, Secret) are compared part by part."""
    old, new = before["metadata"], after["metadata"]
    if any(part(old) != part(new) for part in _EDITABLE):
        return What.EDITED
    if "generation" not in new and before.get("spec") != after.get("spec"):
        return What.EDITED
    for part in (before.keys() | after.keys()) - _BOOKKEEPING:
        if part != "spec" and before.get(part) != after.get(part):
            return What.REPORTED
    return None
