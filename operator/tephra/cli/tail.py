"""``kubectl tephra tail vsilo/NAME``: what arrives at a silo's own broker, seen as its tenant sees it.

Address and credentials come from the VSilo's status and the Secret that it names. The session is a throw-away one of
its own client id, so the tenant's clients are not disturbed. How it looks: :mod:`.messages`.
"""

import argparse
import asyncio
import base64
import secrets
import sys
import time
from typing import Any

from tephra.bus.client import BusClient, BusError, Delivery, Endpoint
from tephra.bus.client import Session as BusSession
from tephra.cli.health import Item
from tephra.cli.main import OK, TIMEOUT, USAGE, CliError, Options
from tephra.cli.messages import Message, Printer, json_line, plain_line, table
from tephra.cli.session import Session, connected, fetch, parse_target
from tephra.kube.errors import NotFound

PATIENCE = 15.0
"""Seconds for the first connection."""


def run(options: Options, args: argparse.Namespace) -> int:
    target = parse_target(args.target)
    if target.kind != "VSilo":
        raise CliError(f"{args.target}: only a vsilo has a broker", USAGE)

    async def work(session: Session) -> int:
        silo = await fetch(session, target)
        endpoint = await _endpoint(session, silo, args.endpoint)
        try:
            async with asyncio.timeout(args.timeout):
                await follow(endpoint, args.topic, args.count, _printer(options))
        except TimeoutError as error:
            raise CliError(f"{endpoint.url}: fewer messages than asked for in {args.timeout:g} s", TIMEOUT) from error
        return OK

    return connected(options, work)


def _printer(options: Options) -> Printer:
    if options.json:
        return json_line
    return table(sys.stdout, colour=options.colour) if sys.stdout.isatty() else plain_line


async def _endpoint(session: Session, silo: Item, url: str | None) -> Endpoint:
    """The broker and the tenant's credentials; raises CliError that says what is missing."""
    meta, known = silo["metadata"], silo.get("status", {}).get("endpoint") or {}
    url = url or known.get("external")
    if not url:
        exposure = silo["spec"].get("exposure", "ClusterIP")
        raise CliError(
            f"VSilo {meta['namespace']}/{meta['name']} has no external endpoint (exposure {exposure}): "
            "set spec.exposure to NodePort or LoadBalancer and wait until it is Ready, or name one with --endpoint"
        )
    name = known.get("secretName") or f"{meta['name']}-credentials"
    try:
        secret = await session.kube.get("Secret", name, meta["namespace"])
    except NotFound as error:
        why = f"kubectl tephra why -n {meta['namespace']} vsilo/{meta['name']}"
        raise CliError(f"Secret {meta['namespace']}/{name} is not there yet; {why} says why") from error
    keys = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
    return Endpoint(url, keys.get("user"), keys.get("password"), ca_data=keys.get("ca.crt"))


async def follow(endpoint: Endpoint, topic: str, count: int | None, show: Printer) -> None:
    """Print messages until ``count`` have come (None: for ever); survives restarts of the broker."""
    arrived: asyncio.Queue[Message] = asyncio.Queue()

    def on_message(delivery: Delivery) -> None:
        arrived.put_nowait(Message(time.time(), delivery.topic, delivery.payload, delivery.retain))

    async def subscribe(_: bool) -> None:
        await bus.subscribe(topic)

    client_id = f"kubectl-tephra-{secrets.token_hex(4)}"
    once = BusSession(client_id=client_id, clean_start=True, expiry=0)
    bus = BusClient(endpoint, once, on_message=on_message, on_connect=subscribe)
    async with bus:
        await _first_connection(bus, endpoint)
        left = count
        while left is None or left > 0:
            show(await arrived.get())
            left = None if left is None else left - 1


async def _first_connection(bus: BusClient, endpoint: Endpoint) -> None:
    """Wait until connected, but not for ever, and not for a refusal to pass."""
    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    bus.on_failure = lambda error: (
        None if failed.done() or not isinstance(error, BusError) else failed.set_result(error)
    )
    waiting = asyncio.create_task(bus.connected.wait())
    ends: list[asyncio.Future[Any]] = [waiting, failed]
    try:
        await asyncio.wait(ends, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if not bus.connected.is_set():
        cause = failed.result() if failed.done() else bus.last_error or "no answer"
        raise CliError(f"cannot connect to {endpoint.url}: {cause}; is the address reachable from here?")
