"""``kubectl tephra version``: of the plugin, of our API, and of Kubernetes."""

import argparse
import json
from importlib.metadata import version

from tephra.api import API_VERSION
from tephra.cli.main import OK, Options
from tephra.cli.session import Session, connected


def run(options: Options, args: argparse.Namespace) -> int:
    versions = {"plugin": version("tephra"), "api": API_VERSION}
    if args.client:
        return _show(options, versions)

    async def work(session: Session) -> int:
        answer = await session.kube.raw("GET", "/version")
        return _show(options, versions | {"kubernetes": answer["gitVersion"]})

    return connected(options, work)


def _show(options: Options, versions: dict[str, str]) -> int:
    lines = [json.dumps(versions)] if options.json else [f"{what}: {value}" for what, value in versions.items()]
    print("\n".join(lines))
    return OK
