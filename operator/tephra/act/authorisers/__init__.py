"""Who may do what on the core bus, put in force: one driver per kind of broker.

An :class:`Authoriser` knows what the broker holds and changes only what differs. Neighbours: :mod:`tephra.bus.roles`
says what each identity may do, :mod:`tephra.act.bus` owns the connection, :mod:`.dynsec` and :mod:`.static` drive.
"""

from collections.abc import Collection
from typing import Protocol

from tephra.bus.client import BusClient, BusError, Delivery, Endpoint
from tephra.bus.roles import Role


class BusUnavailable(ConnectionError):
    """The bus cannot be reached now; the same action may succeed later."""

    transient = True


class AccessError(BusError):
    """The broker refused a change of access; the message names the command and the cause."""

    transient = True


class Fenced(Exception):
    """An operator of a later epoch works on the bus: this one must stop."""


class Authoriser(Protocol):
    """One connection at a time; ``open`` starts anew after each reconnection."""

    @property
    def enforced(self) -> bool:
        """Whether the broker enforces roles by our order."""

    @property
    def identities(self) -> Collection[str]:
        """Identities of ThingVisors and silos with access, as the broker holds them."""

    async def account(self, epoch: int) -> Endpoint:
        """As whom the leader of this epoch works; shuts out earlier ones. Raises :class:`Fenced`."""

    async def open(self, bus: BusClient) -> None:
        """Read what the broker holds, over this fresh connection."""

    def receive(self, delivery: Delivery) -> bool:
        """Takes a message that is meant for the authoriser."""

    def lost(self) -> None:
        """The connection broke: nothing that was asked will be answered."""

    async def grant(self, identity: str, password: str, role: Role) -> None:
        """Give ``identity`` this password and exactly this role; in force on return."""

    async def forget(self, identity: str) -> None:
        """Withdraw it; the broker drops its connection if it can."""
