"""Access on a broker that we cannot order about: written down for its administrator.

Secret ``tephra-bus-access`` in the operator's namespace holds ``passwords`` (Mosquitto ``password_file``) and ``acl``
(``acl_file``); the administrator installs them, by hand or by a program. Whether and when they are in force is not
known here, so ``enforced`` is False and status says so. The Secret is also the memory: what stands in it is what
was granted. It may hold 1 MiB, which is about 1,500 identities; beyond that use dynsec.
"""

import asyncio
import base64
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping

from tephra.act.authorisers import BusUnavailable
from tephra.api import labels
from tephra.bus.client import BusClient, Delivery, Endpoint
from tephra.bus.roles import Access, Role, Rule
from tephra.kube.client import Client
from tephra.kube.errors import ApiError, NotFound
from tephra.kube.resources import Object

ACCESS = "tephra-bus-access"

_WORDS = {Access.SEND: "write", Access.RECEIVE: "read"}
_READ = (Access.RECEIVE, Access.SUBSCRIBE)


class Static:
    """An :class:`tephra.act.authorisers.Authoriser`."""

    enforced = False

    def __init__(self, kube: Client, namespace: str, account: Endpoint, mosquitto_hash: Callable[[str], str]) -> None:
        self._kube, self._namespace, self._account, self._hash = kube, namespace, account, mosquitto_hash
        self._hashes: dict[str, str] = {}
        self._roles: dict[str, Role] = {}
        self._written = asyncio.Lock()
        self._unwritten = False

    @property
    def identities(self) -> Collection[str]:
        return self._hashes.keys()

    async def account(self, epoch: int) -> Endpoint:
        """The administrator's; two leaders at once cannot both stay, as they share its client id."""
        return self._account

    async def open(self, bus: BusClient) -> None:
        try:
            secret = await self._kube.get("Secret", ACCESS, self._namespace)
        except NotFound:
            self._hashes, self._roles = {}, {}
        except ApiError as error:
            raise BusUnavailable(str(error)) from error
        else:
            text = {key: base64.b64decode(value).decode() for key, value in secret.get("data", {}).items()}
            self._hashes, self._roles = parse_passwords(text.get("passwords", "")), parse_acl(text.get("acl", ""))

    def receive(self, delivery: Delivery) -> bool:
        return False

    def lost(self) -> None:
        """Nothing waits for the bus."""

    async def grant(self, identity: str, password: str, role: Role) -> None:
        hashed = self._hash(password)
        if self._hashes.get(identity) != hashed or self._roles.get(identity) != role:
            self._hashes[identity], self._roles[identity] = hashed, role
            await self._write()

    async def forget(self, identity: str) -> None:
        if self._hashes.pop(identity, None):
            self._roles.pop(identity, None)
            await self._write()

    async def _write(self) -> None:
        """One write at a time; whoever waited for it finds its change already written."""
        self._unwritten = True
        async with self._written:
            if self._unwritten:
                self._unwritten = False
                await self._kube.apply(self._manifest())

    def _manifest(self) -> Object:
        meta = {"namespace": self._namespace, "name": ACCESS, "labels": {labels.MANAGED_BY: labels.TEPHRA}}
        files = {"passwords": render_passwords(self._hashes), "acl": render_acl(self._roles)}
        text = {name: base64.b64encode(content.encode()).decode() for name, content in files.items()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": text}


def render_passwords(hashes: Mapping[str, str]) -> str:
    """Mosquitto's ``password_file``."""
    return "".join(f"{identity}:{hashes[identity]}\n" for identity in sorted(hashes))


def parse_passwords(text: str) -> dict[str, str]:
    """Invert :func:`render_passwords`."""
    return {identity: hashed for identity, _, hashed in (line.partition(":") for line in text.splitlines() if line)}


def render_acl(roles: Mapping[str, Role]) -> str:
    """Mosquitto's ``acl_file``; ``read`` there covers both to subscribe and to receive."""
    lines = []
    for identity in sorted(roles):
        lines.append(f"user {identity}")
        lines += sorted(
            f"topic {_WORDS[rule.access]} {rule.topic}" for rule in roles[identity] if rule.access in _WORDS
        )
    return "".join(f"{line}\n" for line in lines)


def parse_acl(text: str) -> dict[str, Role]:
    """Invert :func:`render_acl` for roles in which whatever is received may be subscribed to."""
    rules: dict[str, set[Rule]] = defaultdict(set)
    identity = ""
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "user":
            identity = rest
            rules[identity] = set()
        elif word == "topic":
            access, _, topic = rest.partition(" ")
            rules[identity] |= {Rule(each, topic) for each in (_READ if access == "read" else (Access.SEND,))}
    return {name: frozenset(found) for name, found in rules.items()}
