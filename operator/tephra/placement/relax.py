"""The least change that would admit a request that was refused.

Single changes are tried: a looser delay class, smaller demands, thinner channels, less headroom, one rule dropped; each
as small as admits the request. The size of a change is the factor between the values before and after, less 1, in
either direction (to double or to halve a value is a change of 1, and so is to drop a rule); named is the smallest.
Whether a change admits the request is asked of a solver, so what is named has been tried; a solver that is not exact
may miss a smaller one. Used by :mod:`.solve`, beside :mod:`.refuse`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from tephra.placement.model import Function, Isolation, Policy, Relaxation, Request
from tephra.placement.refuse import RESOURCES, UNITS, delays
from tephra.placement.residual import Residual

Admits = Callable[[Residual, Request, Policy], bool]
MOST = 99.0  # no value is changed by more than a hundredfold
PRECISION = 0.005  # relative, of the value after a change


def relaxation(residual: Residual, request: Request, policy: Policy, admits: Admits) -> Relaxation | None:
    """The single change of least relative size that `admits` agrees to; None when no single one is enough."""
    best: tuple[float, Relaxation] | None = None
    for change in _changes(residual, request, policy):
        limit = change.most if best is None else min(change.most, best[0])
        size = _least(change, limit, admits)
        if size is not None and (best is None or size < best[0]):
            best = (size, change.told(size))
    return best[1] if best else None


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of variable size: `made(size)` is the problem with it, `told(size)` says what it is. `most` is the
    largest size that makes sense; a change that is all or nothing has `whole`."""

    made: Callable[[float], tuple[Residual, Request, Policy]]
    told: Callable[[float], Relaxation]
    most: float = MOST
    whole: bool = False


def _least(change: _Change, limit: float, admits: Admits) -> float | None:
    """The least size up to `limit` at which the changed problem is admitted, found by halving; None if none is."""
    if change.whole and limit < change.most:
        return None
    if not admits(*change.made(limit)):
        return None
    low, high = 0.0, limit
    while not change.whole and high - low > PRECISION * (1 + low):
        middle = (low + high) / 2
        low, high = (low, middle) if admits(*change.made(middle)) else (middle, high)
    return high


def _changes(residual: Residual, request: Request, policy: Policy) -> Iterator[_Change]:
    """Every single change there is to try, those of variable size first, for they bound what the others may cost."""
    if policy.headroom:
        yield _less_headroom(residual, request, policy)
    for bound in sorted({f.max_delay_us for f in request.functions if f.max_delay_us is not None}):
        yield _looser_class(residual, request, policy, bound)
    everyone = frozenset(function.name for function in request.functions)
    for resource in RESOURCES:
        for names in sorted({everyone, _largest(request, resource)}, key=len):
            yield _smaller(residual, request, policy, resource, names)
    if request.channels:
        yield _thinner(residual, request, policy)
    if request.max_path_us is not None:
        yield _longer(residual, request, policy, request.max_path_us)
    yield from _dropped(residual, request, policy)


def _less_headroom(residual: Residual, request: Request, policy: Policy) -> _Change:
    def kept(size: float) -> float:
        return policy.headroom / (1 + size)

    return _Change(
        lambda size: (residual, request, replace(policy, headroom=kept(size))),
        lambda size: Relaxation(
            "policy", "headroom", f"{policy.headroom:g}", f"{kept(size):.3g}", f"keep {kept(size):.1%} of capacity free"
        ),
    )


def _looser_class(residual: Residual, request: Request, policy: Policy, bound: int) -> _Change:
    """The maximum delay of all functions of one class, up to the farthest site."""
    delay = delays(residual.topology, request)
    farthest = float(delay[np.isfinite(delay)].max())
    names = [function.name for function in request.functions if function.max_delay_us == bound]

    def made(size: float) -> tuple[Residual, Request, Policy]:
        looser = (replace(f, max_delay_us=after(size)) if f.max_delay_us == bound else f for f in request.functions)
        return residual, replace(request, functions=tuple(looser)), policy

    def after(size: float) -> int:
        return math.ceil(bound + size * max(bound, 1))

    def told(size: float) -> Relaxation:
        text = f"allow {', '.join(names)} {after(size)} µs from the anchor instead of {bound}"
        return Relaxation(", ".join(names), "max_delay_us", bound, after(size), text)

    return _Change(made, told, most=max(1e-9, farthest - bound) / max(bound, 1))


def _largest(request: Request, resource: str) -> frozenset[str]:
    """The functions of the largest demand."""
    most = max(getattr(function, resource) for function in request.functions)
    return frozenset(function.name for function in request.functions if getattr(function, resource) == most)


def _smaller(residual: Residual, request: Request, policy: Policy, resource: str, names: frozenset[str]) -> _Change:
    """The demands of the functions `names` for one resource, by the same share."""
    whose = ", ".join(sorted(names)) if len(names) < len(request.functions) else request.name

    def reduced(function: Function, size: float) -> Function:
        if function.name not in names:
            return function
        fewer = math.floor(getattr(function, resource) / (1 + size))
        return replace(function, **{resource: fewer})

    def made(size: float) -> tuple[Residual, Request, Policy]:
        return residual, replace(request, functions=tuple(reduced(f, size) for f in request.functions)), policy

    def told(size: float) -> Relaxation:
        asked = [function for function in request.functions if function.name in names]
        before = sum(getattr(function, resource) for function in asked)
        after = sum(getattr(reduced(function, size), resource) for function in asked)
        text = f"ask for {_less(size)} less for {whose}: {after} {UNITS[resource]} in all instead of {before}"
        return Relaxation(whose, resource, before, after, text)

    return _Change(made, told)


def _thinner(residual: Residual, request: Request, policy: Policy) -> _Change:
    """All channels, by the same share."""

    def kbps(before: int, size: float) -> int:
        return math.floor(before / (1 + size))

    def made(size: float) -> tuple[Residual, Request, Policy]:
        channels = tuple(replace(c, bandwidth_kbps=kbps(c.bandwidth_kbps, size)) for c in request.channels)
        return residual, replace(request, channels=channels), policy

    def told(size: float) -> Relaxation:
        before = sum(channel.bandwidth_kbps for channel in request.channels)
        after = sum(kbps(channel.bandwidth_kbps, size) for channel in request.channels)
        text = f"ask for {_less(size)} less per channel: {after} kbit/s in all instead of {before}"
        return Relaxation(request.name, "bandwidth_kbps", before, after, text)

    return _Change(made, told)


def _longer(residual: Residual, request: Request, policy: Policy, bound: int) -> _Change:
    def after(size: float) -> int:
        return math.ceil(bound + size * max(bound, 1))

    return _Change(
        lambda size: (residual, replace(request, max_path_us=after(size)), policy),
        lambda size: Relaxation(
            request.name,
            "max_path_us",
            bound,
            after(size),
            f"allow paths of {after(size)} µs in all instead of {bound}",
        ),
    )


def _dropped(residual: Residual, request: Request, policy: Policy) -> Iterator[_Change]:
    """One rule less: an affinity, an isolation, a list of sites, a compute class."""
    for number, affinity in enumerate(request.affinities):
        left = request.affinities[:number] + request.affinities[number + 1 :]
        members = ", ".join(sorted(affinity.members))
        text = f"drop the {'anti-' if affinity.anti else ''}affinity of {members}"
        yield _whole(
            residual, replace(request, affinities=left), policy, Relaxation(members, "affinities", text, "none", text)
        )
    for function in request.functions:
        if function.isolation is not Isolation.NONE:
            text = f"let {function.name} share its node"
            told = Relaxation(function.name, "isolation", function.isolation, Isolation.NONE, text)
            yield _whole(residual, _with(request, replace(function, isolation=Isolation.NONE)), policy, told)
        if function.sites:
            sites = ", ".join(sorted(function.sites))
            told = Relaxation(function.name, "sites", sites, "any", f"allow {function.name} at any site")
            yield _whole(residual, _with(request, replace(function, sites=frozenset())), policy, told)
    offered = sorted({name for node in residual.topology.nodes for name in node.classes})
    for before in sorted({f.compute_class for f in request.functions} - set(offered)):
        for after in offered:
            functions = tuple(
                replace(f, compute_class=after) if f.compute_class == before else f for f in request.functions
            )
            text = f"run as class {after!r} what asks for {before!r}"
            told = Relaxation(request.name, "compute_class", before, after, text)
            yield _whole(residual, replace(request, functions=functions), policy, told)


def _whole(residual: Residual, request: Request, policy: Policy, told: Relaxation) -> _Change:
    return _Change(lambda _: (residual, request, policy), lambda _: told, most=1.0, whole=True)


def _with(request: Request, function: Function) -> Request:
    functions = tuple(function if f.name == function.name else f for f in request.functions)
    return replace(request, functions=functions)


def _less(size: float) -> str:
    """A division by 1 + size, in per cent."""
    return f"{size / (1 + size):.1%}"
