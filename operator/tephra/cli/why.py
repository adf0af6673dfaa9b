"""``kubectl tephra why KIND/NAME``: what an object waits for, followed to the object that is to blame, and what to do.

:func:`explain` is pure; :func:`suspect` names whom to ask next.
"""

import argparse
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from tephra.api.conditions import CAUSE, Cause, Reason
from tephra.cli import health as judge
from tephra.cli.health import Health, Item
from tephra.cli.main import OK, Options
from tephra.cli.session import Session, Target, connected, fetch, parse_target
from tephra.kube.client import EVERYTHING
from tephra.kube.errors import Forbidden, NotFound

_LEASE = "tephra-operator"
_OF_VISOR = {Reason.THINGVISOR_NOT_READY, Reason.NOT_ANNOUNCED, Reason.VTHING_NOT_FOUND, Reason.MAKE_FAILED}
_UNSEEN = "the operator has not looked at it yet"


class Explanation(NamedTuple):
    """One object's state in words."""

    object: str
    health: Health
    because: str
    reason: str = ""
    step: str = ""

    def sentence(self) -> str:
        verb = {Health.GOOD: "works", Health.WORKING: "waits", Health.BAD: "is not Ready"}[self.health]
        reason = f" ({self.reason})" if self.reason else ""
        step = f" Next: {self.step}" if self.step else ""
        return f"{self.object} {verb}: {' '.join(self.because.split()).rstrip('.')}{reason}.{step}"


def run(options: Options, args: argparse.Namespace) -> int:
    target = parse_target(args.target)

    async def work(session: Session) -> int:
        found = [each async for each in _chain(session, target)]
        if options.json:
            print(json.dumps([each._asdict() | {"health": each.health.name.lower()} for each in found]))
        else:
            print("\n".join(each.sentence() for each in found))
        return OK

    return connected(options, work)


def explain(item: Item) -> Explanation:
    """The state of an object of ours, from its status alone."""
    meta = item["metadata"]
    name = f"{item['kind']} {'/'.join(filter(None, (meta.get('namespace'), meta['name'])))}"
    if meta.get("deletionTimestamp"):
        holders = ", ".join(meta.get("finalizers") or ()) or "its children"
        return Explanation(name, Health.WORKING, f"it is being deleted, which waits for {holders}")
    ready = judge.condition(item, "Ready")
    if not ready:
        return Explanation(name, Health.WORKING, _UNSEEN)
    cause, health = _cause(ready.get("reason", "")), judge.health(item)
    because = ready.get("message") or cause.meaning
    if health is Health.GOOD:
        return Explanation(name, health, because)
    if ready["status"] == "True":
        generation = meta.get("generation")
        return Explanation(
            name, health, f"the operator has not finished with the newest spec (generation {generation})"
        )
    return Explanation(name, health, because, ready["reason"], cause.step)


def _cause(reason: str) -> Cause:
    return CAUSE[Reason(reason)] if reason in set(Reason) else Cause("")


def suspect(item: Item) -> tuple[str, Target] | None:
    """(namespace, object) that an object's trouble comes from, if from another one of ours."""
    reason, spec = judge.condition(item, "Ready").get("reason"), item["spec"]
    namespace = item["metadata"].get("namespace", "")
    if reason == Reason.SCHEMA_INVALID and "type" in spec:
        return "", Target("ThingVisorType", spec["type"])
    if reason == Reason.SCHEMA_INVALID and "flavour" in spec:
        return "", Target("Flavour", spec["flavour"])
    if reason not in _OF_VISOR:
        return None
    if item["kind"] == "VThing":
        return namespace, Target("ThingVisor", spec["id"].partition("/")[0])
    waiting = next(_unattached(item), None)
    return (waiting[0], Target("ThingVisor", waiting[1])) if waiting else None


def _unattached(silo: Item) -> Iterator[list[str]]:
    """(namespace, thingVisor, thing) of the vThings that are not attached."""
    for state in silo.get("status", {}).get("vThings") or ():
        if state["state"] != "Attached":
            yield state["id"].split("/", 2)


async def _chain(session: Session, target: Target) -> AsyncIterator[Explanation]:
    """The object, then those that are to blame, each only if it is not well itself."""
    item = await fetch(session, target)
    found = explain(item)
    yield found._replace(step=await _operator_step(session)) if found.because == _UNSEEN else found
    while found.health is not Health.GOOD and (blamed := suspect(item)):
        namespace, culprit = blamed
        try:
            item = await session.kube.get(culprit.kind, culprit.name, namespace or None)
        except (Forbidden, NotFound):
            return
        found = explain(item)
        if found.health is not Health.GOOD:
            yield found


async def _operator_step(session: Session) -> str:
    """What to do about an object that nobody has looked at: depends on whether an operator is there."""
    try:
        leases = (await session.kube.list("Lease", EVERYTHING)).items
    except Forbidden:
        return "ask the administrator whether the operator runs."
    lease = next((each for each in leases if each["metadata"]["name"] == _LEASE), None)
    if lease is None:
        return "install the operator, for example with helm; no Lease tephra-operator was found."
    return lease_step(lease, datetime.now(UTC))


def lease_step(lease: Item, now: datetime) -> str:
    """What the operator's Lease says about the operator."""
    namespace, spec = lease["metadata"]["namespace"], lease["spec"]
    silent = (now - datetime.fromisoformat(spec["renewTime"])).total_seconds() if spec.get("renewTime") else None
    if spec.get("holderIdentity") and silent is not None and silent < spec.get("leaseDurationSeconds", 10):
        return f"wait a moment; the operator {spec['holderIdentity']} is at work."
    return f"start the operator again; no replica holds the Lease: kubectl -n {namespace} get pods."
