"""Errors of the Kubernetes API: one class per HTTP meaning; each names object, cause and next step.

Raised by `tephra.kube.client`. `transient` says whether the same request may succeed later without anyone
changing the object or the permissions: the engine backs off on those and reports the others in a condition.
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class ApiError(Exception):
    """A failed request. `code` is the HTTP status (0: no answer), `reason` the API's own word."""

    transient: ClassVar[bool] = False
    next_step: ClassVar[str] = "read the message of the API server"

    def __init__(
        self,
        what: str,
        message: str,
        *,
        code: int = 0,
        reason: str = "",
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.what, self.message, self.code, self.reason = what, message, code, reason
        self.details = details or {}
        self.retry_after = retry_after
        super().__init__(f"{what}: {message}; next: {self.next_step}")


class Unreachable(ApiError):
    """No answer: connection refused, reset, or timed out."""

    transient = True
    next_step = "check that the API server is up and that the kubeconfig names the right address"


class BadRequest(ApiError):
    """400: the request itself is malformed."""

    next_step = "report it: the request is malformed"


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or expired."""

    transient = True  # tokens rotate
    next_step = "renew the credentials of the kubeconfig or of the service account"


class Forbidden(ApiError):
    """403: RBAC, a quota or an admission policy refuses it."""

    transient = True  # a RoleBinding or quota may change at any time, without an event that we would see
    next_step = "grant the permission, or raise the quota, that the message names"


class NotFound(ApiError):
    """404: no such object, or no such kind."""

    next_step = "create the object, or install the CRDs when the kind is unknown"


class Conflict(ApiError):
    """409: the object changed meanwhile, or another field manager owns a field."""

    transient = True
    next_step = "read the object again, then retry"


class AlreadyExists(Conflict):
    """409 with reason AlreadyExists."""

    transient = False
    next_step = "use the existing object or another name"


class Gone(ApiError):
    """410: the resourceVersion or the continue token is too old; list again."""

    transient = True
    next_step = "list again"


class Invalid(ApiError):
    """422: the API server's validation refuses the object; `details['causes']` names the fields."""

    next_step = "correct the fields that the message names"


class TooManyRequests(ApiError):
    """429: the server asks to wait; `retry_after` in seconds when it says how long."""

    transient = True
    next_step = "wait; raise the flow-control share of this client if it persists"


class ServerError(ApiError):
    """5xx: the server, etcd or a webhook behind it failed."""

    transient = True
    next_step = "read the logs of the API server and of the webhooks it calls"


_BY_CODE: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


_UNTYPED_PATCH = "failed to create typed patch object"
"""What server-side apply says, with code 500, of a manifest that does not fit the schema."""


def error_from(what: str, code: int, status: Mapping[str, Any], retry_after: float | None = None) -> ApiError:
    """The error for an HTTP `code` and the `v1.Status` body that came with it (empty when it was no JSON)."""
    reason = str(status.get("reason") or "")
    cls = AlreadyExists if reason == "AlreadyExists" else _BY_CODE.get(code)
    if _UNTYPED_PATCH in str(status.get("message")):
        cls = Invalid
    if cls is None:
        cls = ServerError if code >= 500 else ApiError
    message = str(status.get("message") or f"HTTP {code}")
    details = status.get("details") or {}
    return cls(what, message, code=code, reason=reason, details=details, retry_after=retry_after)
