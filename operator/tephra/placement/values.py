"""Checks of single values, shared by the model's constructors (:mod:`tephra.placement.model`).

Every function returns the value in its canonical type or raises ValueError with the object, the field, the cause and
what is expected instead.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from numbers import Integral, Real
from typing import TypeVar

import numpy as np


def amount(owner: str, field: str, value: object, least: int = 0) -> int:
    """A finite integer >= `least`. Booleans, NaN, infinities and fractions are refused: solvers count in integers."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ValueError(f"{owner}: {field} is {value!r}; give an integer >= {least}")
    if int(value) < least:
        raise ValueError(f"{owner}: {field} is {value}; give an integer >= {least}")
    return int(value)


def number(owner: str, field: str, value: object, least: float = 0.0, most: float = math.inf) -> float:
    """A finite real number in [`least`, `most`]."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(float(value)):
        raise ValueError(f"{owner}: {field} is {value!r}; give a finite number")
    result = float(value)
    if not least <= result <= most:
        bounds = f">= {least:g}" if math.isinf(most) else f"in [{least:g}, {most:g}]"
        raise ValueError(f"{owner}: {field} is {value!r}; give a number {bounds}")
    return result


def flag(owner: str, field: str, value: object) -> bool:
    """A truth value, no other thing taken for one."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{owner}: {field} is {value!r}; give true or false")
    return bool(value)


def name(owner: str, field: str, value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{owner}: {field} is {value!r}; give a name of at least one character")
    return value


def names(owner: str, field: str, among: Iterable[str]) -> frozenset[str]:
    """A set of names, none empty; a bare string is no set."""
    if isinstance(among, str):
        raise ValueError(f"{owner}: {field} is the string {among!r}; give a set of names")
    return frozenset(name(owner, field, item) for item in among)


def unique(owner: str, field: str, names: Iterable[str]) -> None:
    """No name twice."""
    seen: set[str] = set()
    for item in names:
        if item in seen:
            raise ValueError(f"{owner}: {field} names {item!r} twice; rename one of them")
        seen.add(item)


def known(owner: str, field: str, value: str, names: Iterable[str], among: str) -> str:
    """A name that exists among `names`."""
    if value not in names:
        raise ValueError(f"{owner}: {field} names {value!r}, which is not among {among}")
    return value


Choice = TypeVar("Choice", bound=StrEnum)


def choice(owner: str, field: str, value: object, among: type[Choice]) -> Choice:
    """A member of an enumeration, given as itself or by its value."""
    if value not in list(among):
        raise ValueError(f"{owner}: {field} is {value!r}; give one of {', '.join(among)}")
    return among(str(value))
