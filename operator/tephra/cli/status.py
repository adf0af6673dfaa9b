"""``kubectl tephra status [KIND/NAME]``: reads, then lets :mod:`.tree` build and draw."""

import argparse
import asyncio
import json

from tephra.api.kinds import KINDS
from tephra.api.labels import MANAGED_BY, OWNER_UID, TEPHRA
from tephra.cli.main import OK, Options
from tephra.cli.session import Session, Target, connected, fetch, listed, parse_target
from tephra.cli.tree import Found, Node, draw, forest
from tephra.kube.client import Selection

CHILDREN = ("Deployment", "Pod", "Service")


def run(options: Options, args: argparse.Namespace) -> int:
    target = parse_target(args.target) if args.target else None

    async def work(session: Session) -> int:
        found = await (_one(session, target) if target else _everything(session))
        _show(forest(found, detail=target is not None), found.notes, options, session)
        return OK

    return connected(options, work)


async def _one(session: Session, target: Target) -> Found:
    item = await fetch(session, target)
    meta = item["metadata"]
    here = Selection(meta.get("namespace"), labels=f"{OWNER_UID}={meta['uid']}")
    kinds = CHILDREN if target.kind in ("ThingVisor", "VSilo") else ()
    notes: list[str] = []
    things = [item]
    if target.kind == "ThingVisor":
        of_namespace = await listed(session.kube, "VThing", Selection(meta["namespace"]), notes)
        things += [thing for thing in of_namespace if thing["spec"]["id"].partition("/")[0] == meta["name"]]
    children = await asyncio.gather(*(listed(session.kube, kind, here, notes) for kind in kinds))
    return Found(things, [child for group in children for child in group], notes)


async def _everything(session: Session) -> Found:
    """Of one namespace: what lives in it. Of all: the cluster-scoped kinds too."""
    kinds = [kind for kind, (info, *_) in KINDS.items() if session.namespace is None or info.scope == "Namespaced"]
    notes: list[str] = []
    ours = Selection(session.namespace, labels=f"{MANAGED_BY}={TEPHRA}")
    everywhere = Selection(session.namespace)
    items, children = await asyncio.gather(
        asyncio.gather(*(listed(session.kube, kind, everywhere, notes) for kind in kinds)),
        asyncio.gather(*(listed(session.kube, kind, ours, notes) for kind in CHILDREN)),
    )
    return Found([item for group in items for item in group], [child for group in children for child in group], notes)


def _show(nodes: list[Node], notes: list[str], options: Options, session: Session) -> None:
    if options.json:
        print(json.dumps({"items": [node.as_json() for node in nodes], "notes": notes}, ensure_ascii=False, indent=2))
        return
    for line in draw(nodes, colour=options.colour):
        print(line)
    if not nodes:
        where = f"namespace {session.namespace}; try -A" if session.namespace else "the cluster"
        print(f"Nothing of Tephra in {where}.")
    for note in notes:
        print(f"note: {note}")
