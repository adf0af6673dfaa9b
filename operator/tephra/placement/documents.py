"""Documents (what JSON and YAML hold) ↔ the dataclasses of placement: field by field, by their names and type hints.

One decoder for every model of the package (:mod:`.model`, :mod:`.schedule.model`, :mod:`.consolidate`): values are
judged by the dataclasses themselves; here it is seen to that every field is known and none is missing. Errors say
where.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def decode(kind: type[T], document: object, where: str = "") -> T:
    """An object of the dataclass (or named tuple) `kind`. ValueError names the place in the document and the cause.

    Mappings whose keys are pairs are lists of [one, other, value]; sets and tuples are lists.
    """
    return typing.cast(T, _decode(kind, document, where or kind.__name__.lower()))


def encode(value: object) -> Any:
    """What JSON can hold: dataclasses as mappings of the fields they are made of, sets sorted, keys of pairs listed."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: encode(getattr(value, item.name)) for item in dataclasses.fields(value) if item.init}
    if isinstance(value, Mapping):
        if any(isinstance(key, tuple) for key in value):
            return [[*key, encode(item)] for key, item in value.items()]
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, list | tuple | frozenset):
        return [encode(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    return value.value if isinstance(value, Enum) else value


def _decode(hint: Any, value: object, where: str) -> object:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) or hasattr(hint, "_fields"):
        return _record(hint, value, where)
    if origin in (types.UnionType, typing.Union):
        kinds = [kind for kind in inner if kind is not type(None)]
        return None if value is None else _decode(kinds[0], value, where)
    if origin is tuple:
        return _tuple(inner, _listed(value, where), where)
    if origin is frozenset:
        return frozenset(_decode(inner[0], item, f"{where}[{number}]") for number, item in _listed(value, where))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(inner[0], inner[1], value, where)
    return value


def _record(kind: Any, value: object, where: str) -> object:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {value!r} is no mapping; give the fields of a {kind.__name__}")
    hints, needed = typing.get_type_hints(kind), _needed(kind)
    for name in value:
        if name not in needed:
            raise ValueError(f"{where}: unknown field {name!r}; known are {', '.join(sorted(needed))}")
    for name, is_needed in needed.items():
        if is_needed and name not in value:
            raise ValueError(f"{where}: {name} is missing")
    given = {name: _decode(hints[name], item, f"{where}.{name}") for name, item in value.items()}
    try:
        return kind(**given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None


def _needed(kind: Any) -> dict[str, bool]:
    """The fields of a dataclass or named tuple, and whether one must be given."""
    if not dataclasses.is_dataclass(kind):
        return {name: name not in kind._field_defaults for name in kind._fields}
    nothing = dataclasses.MISSING
    fields = [item for item in dataclasses.fields(kind) if item.init]
    return {item.name: item.default is nothing and item.default_factory is nothing for item in fields}


def _tuple(inner: tuple[Any, ...], items: list[tuple[int, object]], where: str) -> tuple[object, ...]:
    """A tuple of any length, or of the kinds given."""
    if inner[-1] is Ellipsis:
        return tuple(_decode(inner[0], item, f"{where}[{number}]") for number, item in items)
    if len(items) != len(inner):
        raise ValueError(f"{where}: {len(items)} values; give {len(inner)}")
    return tuple(_decode(kind, item, f"{where}[{number}]") for kind, (number, item) in zip(inner, items, strict=True))


def _mapping(key: Any, kind: Any, value: object, where: str) -> dict[object, object]:
    if typing.get_origin(key) is tuple:
        rows = [_tuple((*typing.get_args(key), kind), _listed(row, where), where) for _, row in _listed(value, where)]
        return {row[:-1]: row[-1] for row in rows}
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: {value!r} is no mapping")
    return {name: _decode(kind, item, f"{where}.{name}") for name, item in value.items()}


def _listed(value: object, where: str) -> list[tuple[int, object]]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: {value!r} is no list")
    return list(enumerate(value))
