"""How a ThingVisor's source fares, as the operator shows it in condition ``SourceHealthy``."""

from collections.abc import Callable
from enum import StrEnum

from tephra.bus import messages


class Reason(StrEnum):
    """Why a source does not serve. All are reasons of the operator's conditions too (``tephra.api.conditions``)."""

    UNAUTHORIZED = "Unauthorized"
    """The source refuses our key: somebody must mend it."""
    SECRET_MISSING = "SecretMissing"
    """A key that should be in the Secret is not: somebody must add it."""
    UNREACHABLE = "Unreachable"
    RATE_LIMITED = "RateLimited"
    BAD_RESPONSE = "BadResponse"
    """The source answers, but not what its interface promises."""


class SourceError(Exception):
    """The source does not serve. Raised out of ``start`` it becomes the ThingVisor's health, and ``start`` is retried.

    ``message`` is for the person who has to mend it: which object, what happened, what to do.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Health:
    """Say :meth:`ok` or :meth:`failing` as often as you like: only a change is reported."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.now = messages.Health()
        self._changed = changed
        self._crashed = False

    def ok(self) -> None:
        self._set(messages.Health())

    def failing(self, reason: Reason, message: str) -> None:
        self._set(messages.Health(ok=False, reason=reason, message=message))

    def crashed(self, error: Exception) -> None:
        """The ThingVisor's own code failed; over with the next thing that it publishes."""
        text = f"the ThingVisor's program failed: {type(error).__name__}: {error}"
        self._set(messages.Health(ok=False, reason=Reason.BAD_RESPONSE, message=text))
        self._crashed = True

    def alive(self) -> None:
        """It published something."""
        if self._crashed:
            self.ok()

    def _set(self, health: messages.Health) -> None:
        self._crashed = False
        if health != self.now:
            self.now = health
            self._changed()
