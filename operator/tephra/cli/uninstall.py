"""``kubectl tephra uninstall``: deletes everything of Tephra, in an order that leaves nothing behind.

First our objects, while the operator still runs: it withdraws their identities from the bus, and garbage collection
takes their children. Then what the chart and the operator made for themselves (label ``part-of: tephra``, the
operator's own Secrets, Helm's record), then the definitions, at last the namespaces that were asked for.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import NamedTuple

from tephra.api import GROUP
from tephra.api.kinds import KINDS
from tephra.api.labels import MANAGED_BY, OWNER_UID, TEPHRA
from tephra.cli.main import OK, TIMEOUT, USAGE, CliError, Options
from tephra.cli.session import Session, connected
from tephra.kube.client import EVERYTHING, Client, Selection
from tephra.kube.errors import NotFound
from tephra.kube.resources import Object, describe

PART_OF = Selection(labels=f"app.kubernetes.io/part-of={TEPHRA}")
CLAIMS = Selection(labels=f"app.kubernetes.io/name={TEPHRA}")
"""A claim that a StatefulSet made carries only the labels of its selector."""
CHILDREN = Selection(labels=OWNER_UID)
OWN_SECRETS = Selection(labels=f"{MANAGED_BY}={TEPHRA},!{OWNER_UID}")
_CHILD_KINDS = ("Deployment", "Service", "NetworkPolicy", "ConfigMap", "Secret")
_WORKLOADS = ("Deployment", "StatefulSet", "Job")
_INSTALLED_KINDS = (
    *(*_WORKLOADS, "Service", "ConfigMap", "Secret", "ServiceAccount"),
    *("NetworkPolicy", "PodDisruptionBudget", "Lease", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    *("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"),
)
_LEASE = "tephra-operator"


class Victim(NamedTuple):
    """An object to delete."""

    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return describe(*self)


def run(options: Options, args: argparse.Namespace) -> int:
    async def work(session: Session) -> int:
        steps = await _steps(session.kube, args.delete_namespace)
        victims = [victim for step in steps for victim in step]
        _show(victims, options, dry_run=args.dry_run)
        if args.dry_run or not victims:
            return OK
        if not args.yes:
            _confirm(len(victims), session.kube.config.server)
        await _within(args.timeout, _sweep(session.kube, steps))
        return OK

    return connected(options, work)


def _show(victims: list[Victim], options: Options, *, dry_run: bool) -> None:
    if options.json:
        print(json.dumps([victim._asdict() for victim in victims]))
        return
    for victim in victims:
        print(f"{'would delete' if dry_run else 'delete'} {victim}")
    if not victims:
        print("Nothing of Tephra in this cluster.")


def _confirm(count: int, server: str) -> None:
    try:
        answer = input(f"Delete these {count} objects from {server}? Type yes: ")
    except EOFError:
        raise CliError("nobody to ask; pass --yes", USAGE) from None
    if answer.strip() != "yes":
        raise CliError("nothing was deleted")


async def _steps(kube: Client, namespaces: Iterable[str]) -> list[list[Victim]]:
    """What to delete, step by step."""
    ours = await _found(kube, KINDS, EVERYTHING)
    installed = await _installed(kube)
    definitions = [Victim("CustomResourceDefinition", None, f"{info.plural}.{GROUP}") for info, *_ in KINDS.values()]
    there = {victim.name for victim in await _found(kube, ["CustomResourceDefinition"], EVERYTHING)}
    asked = [Victim("Namespace", None, name) for name in namespaces]
    workloads = [victim for victim in installed if victim.kind in _WORKLOADS]
    rest = [victim for victim in installed if victim.kind not in _WORKLOADS]
    return [ours, workloads, rest, [each for each in definitions if each.name in there], asked]


async def _installed(kube: Client) -> list[Victim]:
    """The chart's objects, Helm's record of them, and what the operator made for itself."""
    labelled = await asyncio.gather(*(_listed(kube, kind, PART_OF) for kind in _INSTALLED_KINDS))
    objects = [item for group in labelled for item in group]
    claims = await _listed(kube, "PersistentVolumeClaim", CLAIMS)
    leases = [item for item in await _listed(kube, "Lease", EVERYTHING) if item["metadata"]["name"] == _LEASE]
    secrets = await _listed(kube, "Secret", OWN_SECRETS)
    records = await asyncio.gather(*(_listed(kube, "Secret", release) for release in _releases(objects)))
    every = [*objects, *claims, *leases, *secrets, *(item for group in records for item in group)]
    return list(dict.fromkeys(_victim(item) for item in every))


def _releases(objects: Iterable[Object]) -> set[Selection]:
    """Where Helm keeps its records of the releases that these objects belong to."""
    annotations = [item["metadata"].get("annotations") or {} for item in objects]
    named = {
        (each.get("meta.helm.sh/release-namespace"), each.get("meta.helm.sh/release-name")) for each in annotations
    }
    return {Selection(namespace, labels=f"owner=helm,name={name}") for namespace, name in named if namespace and name}


async def _listed(kube: Client, kind: str, selection: Selection) -> list[Object]:
    try:
        return (await kube.list(kind, selection)).items
    except NotFound:  # the definition is gone, or was never there
        return []


def _victim(item: Object) -> Victim:
    return Victim(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])


async def _found(kube: Client, kinds: Iterable[str], selection: Selection) -> list[Victim]:
    groups = await asyncio.gather(*(_listed(kube, kind, selection) for kind in kinds))
    return [_victim(item) for group in groups for item in group]


async def _sweep(kube: Client, steps: list[list[Victim]]) -> None:
    """Delete step by step; each waits until its objects are gone, the first for their children too."""
    for number, step in enumerate(steps):
        await asyncio.gather(*(_delete(kube, victim) for victim in step))
        await _until_none(partial(_remaining, kube, step))
        if number == 0:
            await _until_none(partial(_found, kube, _CHILD_KINDS, CHILDREN))


async def _remaining(kube: Client, step: list[Victim]) -> list[Victim]:
    kinds = {victim.kind for victim in step}
    return [victim for victim in await _found(kube, kinds, EVERYTHING) if victim in step]


async def _delete(kube: Client, victim: Victim) -> None:
    """A Deployment stays until its pods are gone (Foreground), so that a dying operator makes nothing anew."""
    workload = victim.kind in _WORKLOADS
    try:
        await kube.delete(
            victim.kind, victim.name, victim.namespace, propagation="Foreground" if workload else "Background"
        )
    except NotFound:
        return


async def _until_none(look: Callable[[], Awaitable[list[Victim]]]) -> None:
    while await look():
        await asyncio.sleep(0.3)  # deletion has many watchers and no single event; uninstalling is rare


async def _within(seconds: float, work: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError as error:
        raise CliError(
            f"not everything was gone after {seconds:g} s; run it again to see what is left", TIMEOUT
        ) from error
