"""One command's connection to the cluster: which cluster, which namespace, and errors in the user's words."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tephra.api.kinds import KINDS
from tephra.cli.main import USAGE, CliError, Options
from tephra.kube.client import Client, Selection
from tephra.kube.config import ConfigError, load
from tephra.kube.errors import ApiError, Forbidden, NotFound
from tephra.kube.resources import Object, resource
from tephra.kube.transport import Retry

_PATIENCE = Retry(deadline_s=5.0)


class Session(NamedTuple):
    """``namespace`` is the one to look at; None means all."""

    kube: Client
    namespace: str | None


def connected(options: Options, work: Callable[[Session], Awaitable[int]]) -> int:
    """Run ``work`` with a session; what the API server refuses becomes a CliError."""
    try:
        return asyncio.run(_with_session(options, work))
    except (ApiError, ConfigError) as error:
        raise CliError(str(error)) from error


async def _with_session(options: Options, work: Callable[[Session], Awaitable[int]]) -> int:
    config = load(options.kubeconfig, options.context)
    async with Client(config, retry=_PATIENCE, field_manager="kubectl-tephra") as kube:
        return await work(Session(kube, None if options.all_namespaces else options.namespace or config.namespace))


class Target(NamedTuple):
    """An object of ours that the user names."""

    kind: str
    name: str


def parse_target(text: str) -> Target:
    """``vsilo/home``, ``vs/home``, ``vsilos/home`` in any case; raises CliError that lists the kinds."""
    word, slash, name = text.partition("/")
    for kind, (info, *_) in KINDS.items():
        if slash and name and word.lower() in {kind.lower(), info.plural, *info.short_names}:
            return Target(kind, name)
    known = ", ".join(f"{kind.lower()} ({info.short_names[0]})" for kind, (info, *_) in KINDS.items())
    raise CliError(f"{text!r} is not KIND/NAME with one of the kinds {known}", USAGE)


async def fetch(session: Session, target: Target) -> Object:
    """The object; raises CliError naming it when it is not there."""
    namespace = None
    if resource(target.kind).namespaced:
        namespace = session.namespace
        if namespace is None:
            raise CliError(f"{target.kind} {target.name}: name its namespace with -n, not -A", USAGE)
    try:
        return await session.kube.get(target.kind, target.name, namespace)
    except NotFound as error:
        where = f" in namespace {namespace}" if namespace else ""
        step = f"kubectl get {resource(target.kind).plural}{' -A' if namespace else ''} lists what there is"
        raise CliError(f"{target.kind} {target.name} does not exist{where}; {step}") from error


async def listed(kube: Client, kind: str, selection: Selection, notes: list[str]) -> list[Object]:
    """Objects of a kind; what the user may not see is left out and said in ``notes``."""
    try:
        return (await kube.list(kind, selection)).items
    except Forbidden:
        notes.append(f"{resource(kind).plural} are not shown: you may not list them")
        return []
    except NotFound as error:
        raise CliError(f"the cluster does not know {kind}: Tephra is not installed there") from error
