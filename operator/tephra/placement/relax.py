"""The least change that would admit a request that was refused.

Single changes are tried: a looser delay class, smaller demands, thinner channels, less headroom, one rule dropped; each
as small as admits the request. The size of a change is the factor between the values before and after, less 1, in
either direction (to double or to halve a value is a change of 1, and so is to drop a rule); named is the smallest.
Whether a change admits the request is asked of solvers, so what is named has been tried; as they are not exact, a
smaller one may be missed. Where no single change is enough, all delays or all demands change alike. Used by
:mod:`.solve`, beside :mod:`.refuse`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tephra.placement.model import Function, Isolation, Policy, Relaxation, Request
from tephra.placement.refuse import RESOURCES, UNITS, delays
from tephra.placement.residual import Residual

Admits = Callable[[Residual, Request, Policy], bool]
MOST = 99.0  # no value is changed by more than a hundredfold
PRECISION = 0.005  # relative, of the value after a change


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of variable size: `made(size)` is the problem with it, `told(size)` says what it is. `most` is the
    largest size that makes sense; a change that is all or nothing has `whole`."""

    made: Callable[[float], tuple[Residual, Request, Policy]]
    told: Callable[[float], Relaxation]
    most: float = MOST
    whole: bool = False


def relaxation(residual: Residual, request: Request, policy: Policy, admits: Admits) -> Relaxation | None:
    """The change of least size that `admits` agrees to: of one value, else of several alike; None if none is enough."""
    single, broader = _changes(residual, request, policy), _broader(residual, request, policy)
    return _smallest(single, admits) or _smallest(broader, admits)


def _smallest(changes: Iterable[_Change], admits: Admits) -> Relaxation | None:
    best: tuple[float, Relaxation] | None = None
    for change in changes:
        limit = change.most if best is None else min(change.most, best[0])
        size = _least(change, limit, admits)
        if size is not None and (best is None or size < best[0]):
            best = (size, change.told(size))
    return best[1] if best else None


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
    for bound in sorted(_classes(request)):
        yield _looser(residual, request, policy, frozenset({bound}))
    for resource in RESOURCES:
        for names in sorted({_everyone(request), _largest(request, resource)}, key=len):
            yield _smaller(residual, request, policy, (resource,), names)
    if request.channels:
        yield _thinner(residual, request, policy)
    if request.max_path_us is not None:
        yield _longer(residual, request, policy, request.max_path_us)
    yield from _dropped(residual, request, policy)


def _broader(residual: Residual, request: Request, policy: Policy) -> Iterator[_Change]:
    """Changes of several values alike, for requests that more than one thing stops."""
    if _classes(request):
        yield _looser(residual, request, policy, _classes(request))
    yield _smaller(residual, request, policy, RESOURCES, _everyone(request))


def _classes(request: Request) -> frozenset[int]:
    return frozenset(f.max_delay_us for f in request.functions if f.max_delay_us is not None)


def _everyone(request: Request) -> frozenset[str]:
    return frozenset(function.name for function in request.functions)


def _less_headroom(residual: Residual, request: Request, policy: Policy) -> _Change:
    def kept(size: float) -> float:
        return policy.headroom / (1 + size)

    return _Change(
        lambda size: (residual, request, replace(policy, headroom=kept(size))),
        lambda size: Relaxation(
            "policy", "headroom", f"{policy.headroom:g}", f"{kept(size):.3g}", f"keep {kept(size):.1%} of capacity free"
        ),
    )


def _looser(residual: Residual, request: Request, policy: Policy, bounds: frozenset[int]) -> _Change:
    """The maximum delays of all functions of these classes, by one factor, up to the farthest site."""
    delay = delays(residual.topology, request)
    farthest = float(delay[np.isfinite(delay)].max())
    names = ", ".join(function.name for function in request.functions if function.max_delay_us in bounds)

    def after(bound: int, size: float) -> int:
        return math.ceil(bound + size * max(bound, 1))

    def loosened(function: Function, size: float) -> Function:
        bound = function.max_delay_us
        return replace(function, max_delay_us=after(bound, size)) if bound in bounds and bound is not None else function

    def told(size: float) -> Relaxation:
        least = min(bounds)
        others = " and the other bounds by the same factor" if len(bounds) > 1 else ""
        text = f"allow {names} {after(least, size)} µs from the anchor instead of {least}{others}"
        return Relaxation(names, "max_delay_us", least, after(least, size), text)

    return _Change(
        lambda size: (residual, _each(request, lambda function: loosened(function, size)), policy),
        told,
        most=max(1e-9, farthest - min(bounds)) / max(min(bounds), 1),
    )


def _each(request: Request, change: Callable[[Function], Function]) -> Request:
    return replace(request, functions=tuple(change(function) for function in request.functions))


def _largest(request: Request, resource: str) -> frozenset[str]:
    """The functions of the largest demand."""
    most = max(getattr(function, resource) for function in request.functions)
    return frozenset(function.name for function in request.functions if getattr(function, resource) == most)


def _smaller(
    residual: Residual, request: Request, policy: Policy, resources: Sequence[str], names: frozenset[str]
) -> _Change:
    """The demands of the functions `names` for these resources, by one factor."""
    whose = ", ".join(sorted(names)) if len(names) < len(request.functions) else request.name

    def reduced(function: Function, size: float) -> Function:
        if function.name not in names:
            return function
        return replace(function, **{of: math.floor(getattr(function, of) / (1 + size)) for of in resources})

    def told(size: float) -> Relaxation:
        asked = [function for function in request.functions if function.name in names]
        before = {of: sum(getattr(function, of) for function in asked) for of in resources}
        after = {of: sum(getattr(reduced(function, size), of) for function in asked) for of in resources}
        sums = " and ".join(f"{after[of]} {UNITS[of]} in all instead of {before[of]}" for of in resources)
        text = f"ask for {_less(size)} less for {whose}: {sums}"
        return Relaxation(whose, ", ".join(resources), _joined(before), _joined(after), text)

    return _Change(lambda size: (residual, _each(request, lambda f: reduced(f, size)), policy), told)


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


def _joined(sums: Mapping[str, int]) -> int | str:
    """One sum as it is, several as text."""
    values = list(sums.values())
    return values[0] if len(values) == 1 else ", ".join(map(str, values))


def _less(size: float) -> str:
    """A division by 1 + size, in per cent."""
    return f"{size / (1 + size):.1%}"
