"""Access on Mosquitto by its dynamic-security plugin (2.0; "Dynamic Security Plugin" in its documentation).

Commands are JSON on a control topic, several in one message. The plugin (2.0.11) sends its answers to everybody who
reads them, so each question carries correlation data of its own. Each
identity is one client (user name = client id = identity) with one role of its own, also named after it, because the
plugin substitutes no patterns. A change of a role is in force at once and disconnects nobody; a change of a client
drops its connection. A client's ``textdescription`` holds a digest of its password, which the plugin does not give out,
so a restarted operator can tell whether it is the right one.

Fencing: a leader of epoch N works as client ``operator-N``. To become it, it logs in with the first account, makes that
client, and only then looks who else is there: of two that do so at once, at least one sees the other. It removes those
with lower epochs (the broker drops them); seeing a higher one, it removes itself and raises ``Fenced``.
"""

import asyncio
import base64
import hashlib
import itertools
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import orjson

from tephra.act.authorisers import AccessError, BusUnavailable, Fenced
from tephra.bus.client import BusClient, Delivery, Endpoint, Session
from tephra.bus.roles import Access, Role, Rule, operator_role

log = logging.getLogger(__name__)

CONTROL = "$CONTROL/dynamic-security/v1"
RESPONSE = f"{CONTROL}/response"
BOOTSTRAP = "bootstrap"
"""First account of the chart's broker."""
OPERATOR_ROLE = "operator"
_OPERATOR = "operator-"
_PAGE = 500
"""Clients or roles asked for at once, so that an answer stays below a few hundred kilobytes."""
_ANSWER_S = 10.0
_KINDS = {kind.value: kind for kind in Access}

Command = dict[str, Any]


def first_state(password_hash: str) -> str:
    """Contents of ``dynsec.json`` for a broker's very first start: :data:`BOOTSTRAP` may administer, nobody else may
    do anything. ``password_hash``: as in a password file, ``$7$iterations$salt$hash``."""
    _, _, iterations, salt, digest = password_hash.split("$")
    first = {"password": digest, "salt": salt, "iterations": int(iterations)}
    state = {
        "defaultACLAccess": {kind: kind == "unsubscribe" for kind in _DEFAULTS},
        "clients": [{"username": BOOTSTRAP, **first, "roles": [{"rolename": OPERATOR_ROLE}]}],
        "groups": [],
        "roles": [{"rolename": OPERATOR_ROLE, "acls": _acls(_OPERATOR_RULES)}],
    }
    return orjson.dumps(state).decode()


class Channel:
    """Asks the plugin over one connection."""

    def __init__(self, bus: BusClient) -> None:
        self._bus = bus
        self._asked: dict[str, asyncio.Future[list[Command]]] = {}
        self._names = map(f"{secrets.token_hex(6)}.{{}}".format, itertools.count())

    async def open(self) -> None:
        await self._bus.subscribe(RESPONSE, qos=0)

    def receive(self, delivery: Delivery) -> bool:
        if delivery.topic != RESPONSE:
            return False
        answers = orjson.loads(delivery.payload)["responses"]
        question = self._asked.get(answers[0].get("correlationData", "")) if answers else None
        if question and not question.done():
            question.set_result(answers)
        return True

    def lost(self) -> None:
        for question in self._asked.values():
            if not question.done():
                question.set_exception(BusUnavailable("the connection to the bus broke"))

    async def ask(self, *commands: Command) -> list[Command]:
        """Run the commands; their ``data`` in order. Raises AccessError when one is refused (the others still ran)."""
        question: asyncio.Future[list[Command]] = asyncio.get_running_loop().create_future()
        name = next(self._names)
        self._asked[name] = question
        named = [{**command, "correlationData": name} for command in commands]
        sent = self._bus.publish_nowait(CONTROL, orjson.dumps({"commands": named}), qos=0)
        try:
            async with asyncio.timeout(_ANSWER_S):
                answers = await question
        except TimeoutError:
            raise BusUnavailable(f"the broker did not answer {_what(commands[0])} within {_ANSWER_S:.0f} s") from None
        finally:
            del self._asked[name]
            sent.cancel()  # if it still waits for a connection, that one shall not get it
        for command, answer in zip(commands, answers, strict=False):
            if "error" in answer:
                raise AccessError(f"the broker refused {_what(command)}: {answer['error']}")
        return [answer.get("data", {}) for answer in answers]

    async def list(self, kind: str, *, verbose: bool = True) -> list[Any]:
        """All ``clients`` or ``roles``, page by page."""
        found: list[Any] = []
        for offset in itertools.count(0, _PAGE):
            command = {"command": f"list{kind.title()}", "verbose": verbose, "count": _PAGE, "offset": offset}
            page = (await self.ask(command))[0][kind]
            found += page
            if len(page) < _PAGE:
                break
        return found


class Dynsec:
    """An :class:`tephra.act.authorisers.Authoriser`."""

    enforced = True

    def __init__(self, first: Endpoint, password: Callable[[int], str]) -> None:
        """``first``: the account that may administer; ``password``: of ``operator-N``, by epoch."""
        self._first, self._password = first, password
        self._channel: Channel | None = None
        self._clients: dict[str, str] = {}  # identity → digest of its password, "" when something is wrong with it
        self._roles: dict[str, Role] = {}

    @property
    def identities(self) -> Collection[str]:
        return self._clients.keys() | self._roles.keys()

    # --- fencing

    async def account(self, epoch: int) -> Endpoint:
        own, password = f"{_OPERATOR}{epoch}", self._password(epoch)
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def greet(_session_present: bool) -> None:
            await channel.open()
            try:
                await _take_over(channel, epoch, password)
            except Fenced as fenced:
                taken.set_exception(fenced)
            else:
                taken.set_result(None)

        session = Session(client_id=f"{BOOTSTRAP}-{epoch}", clean_start=True, expiry=0)
        bus = BusClient(self._first, session, on_connect=greet, on_failure=lambda error: channel.lost())
        channel = Channel(bus)
        bus.on_message = channel.receive  # type: ignore[assignment]
        async with bus:
            await taken
        return self._first._replace(username=own, password=password)

    # --- what the broker holds

    async def open(self, bus: BusClient) -> None:
        self._channel = Channel(bus)
        await self._channel.open()
        await self._read(self._channel)

    async def _read(self, channel: Channel) -> None:
        clients, roles = await asyncio.gather(channel.list("clients"), channel.list("roles"))
        self._clients = {each["username"]: _digest_in(each) for each in clients if _is_ours(each["username"])}
        self._roles = {each["rolename"]: _role_in(each) for each in roles if _is_ours(each["rolename"])}

    def receive(self, delivery: Delivery) -> bool:
        return self._channel is not None and self._channel.receive(delivery)

    def lost(self) -> None:
        if self._channel:
            self._channel.lost()

    # --- changes

    async def grant(self, identity: str, password: str, role: Role) -> None:
        digest, commands = _digest(password), []
        if self._roles.get(identity) != role:
            verb = "modifyRole" if identity in self._roles else "createRole"
            commands.append({"command": verb, "rolename": identity, "acls": _acls(role)})
        if self._clients.get(identity) != digest:
            if identity in self._clients:
                commands.append({"command": "deleteClient", "username": identity})
            commands.append(_create_client(identity, password, identity))
        if commands:
            await self._ask(commands)
            self._roles[identity], self._clients[identity] = role, digest

    async def forget(self, identity: str) -> None:
        """Struck off before the broker is asked: the sweep and the object's own plan may forget it side by side."""
        commands: list[Command] = []
        if self._clients.pop(identity, None) is not None:
            commands.append({"command": "deleteClient", "username": identity})
        if self._roles.pop(identity, None) is not None:
            commands.append({"command": "deleteRole", "rolename": identity})
        if commands:
            await self._ask(commands)

    async def _ask(self, commands: Iterable[Command]) -> None:
        assert self._channel is not None
        try:
            await self._channel.ask(*commands)
        except AccessError:  # it holds something else than we thought: look again, the next pass mends it
            await self._read(self._channel)
            raise


async def _take_over(channel: Channel, epoch: int, password: str) -> None:
    """Make ``operator-<epoch>`` and remove its predecessors; raises Fenced when it has a successor."""
    own = f"{_OPERATOR}{epoch}"
    roles, before = await asyncio.gather(channel.list("roles", verbose=False), channel.list("clients", verbose=False))
    verb = "modifyRole" if OPERATOR_ROLE in roles else "createRole"
    commands: list[Command] = [{"command": verb, "rolename": OPERATOR_ROLE, "acls": _acls(_OPERATOR_RULES)}]
    commands.append({"command": "setDefaultACLAccess", "acls": [_default(kind) for kind in _DEFAULTS]})
    if own in before:
        commands.append({"command": "deleteClient", "username": own})
    await channel.ask(*commands, _create_client(own, password, OPERATOR_ROLE))
    epochs = {number for name in await channel.list("clients", verbose=False) if (number := _epoch(name)) is not None}
    if later := [number for number in epochs if number > epoch]:
        await channel.ask({"command": "deleteClient", "username": own})
        raise Fenced(
            f"client {_OPERATOR}{max(later)} is on the bus, so an operator of a later epoch than {epoch} leads; if"
            f" there is none, delete that client: mosquitto_ctrl dynsec deleteClient {_OPERATOR}{max(later)}"
        )
    if earlier := [number for number in epochs if number < epoch]:
        log.info("shutting out %s", ", ".join(f"{_OPERATOR}{number}" for number in sorted(earlier)))
        await channel.ask(*({"command": "deleteClient", "username": f"{_OPERATOR}{number}"} for number in earlier))


_DEFAULTS = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")
_CONTROLS = f"{CONTROL.rpartition('/')[0]}/#"
_OPERATOR_RULES: Role = operator_role() | {Rule(access, _CONTROLS) for access in Access}


def _default(kind: str) -> Command:
    return {"acltype": kind, "allow": kind == "unsubscribe"}


def _create_client(name: str, password: str, role: str) -> Command:
    return {
        "command": "createClient",
        "username": name,
        "clientid": name,
        "password": password,
        "textdescription": _digest(password),
        "roles": [{"rolename": role}],
    }


def _acls(role: Role) -> list[Command]:
    return [{"acltype": access, "topic": topic, "priority": 0, "allow": True} for access, topic in sorted(role)]


def _role_in(listed: Mapping[str, Any]) -> Role:
    """The rules of a listed role; those that are none of ours make it differ from every role that we grant."""
    rules = []
    for acl in listed.get("acls", ()):
        ours = acl["acltype"] in _KINDS and acl.get("allow", False)
        rules.append(Rule(_KINDS[acl["acltype"]], acl["topic"]) if ours else Rule(Access.SEND, ""))
    return frozenset(rules)


def _digest_in(listed: Mapping[str, Any]) -> str:
    name = listed["username"]
    roles = [role["rolename"] for role in listed.get("roles", ())]
    as_made = roles == [name] and listed.get("clientid") == name and not listed.get("disabled", False)
    return str(listed.get("textdescription", "")) if as_made else ""


def _digest(password: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(b"tephra" + password.encode()).digest()[:12]).decode()


def _is_ours(name: str) -> bool:
    return name.startswith(("tv.", "silo."))


def _epoch(name: str) -> int | None:
    number = name.removeprefix(_OPERATOR)
    return int(number) if number != name and number.isdecimal() else None


def _what(command: Command) -> str:
    return f"{command['command']} {command.get('username') or command.get('rolename') or ''}".rstrip()


__all__ = ["BOOTSTRAP", "CONTROL", "Channel", "Dynsec", "first_state"]
