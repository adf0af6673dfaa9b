"""The vocabulary of conditions: every type and every reason that Tephra ever writes, as data.

``docs/reference/conditions.md`` is generated from these; a test fails when a planner uses a reason that is not here or
when one is here that nobody uses. Polarity: every type is good when True, except ``Reconciling`` and ``Stalled``
(kstatus' two). Neighbours: :mod:`tephra.plan` makes conditions, :mod:`tephra.reconcile.status` writes them.
"""

from enum import StrEnum


class Type(StrEnum):
    """Condition types; the docstring of each says what True means."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    TYPE_RESOLVED = "TypeResolved"
    PARAMS_VALID = "ParamsValid"
    POD_READY = "PodReady"
    ANNOUNCED = "Announced"
    SOURCE_HEALTHY = "SourceHealthy"
    FLAVOUR_RESOLVED = "FlavourResolved"
    PLACED = "Placed"
    BROKER_READY = "BrokerReady"
    CONTROLLER_READY = "ControllerReady"
    VTHINGS_ATTACHED = "VThingsAttached"
    TENANCY_ENFORCED = "TenancyEnforced"


MEANING: dict[Type, str] = {
    Type.READY: "The summary: the object does what its spec asks.",
    Type.RECONCILING: "Work on this generation goes on.",
    Type.STALLED: "Work cannot go on until somebody changes something; the message says what.",
    Type.TYPE_RESOLVED: "The ThingVisorType exists and is usable.",
    Type.PARAMS_VALID: "spec.params satisfies the schema of the type or flavour, and the program took them.",
    Type.POD_READY: "The pod runs and its probes pass.",
    Type.ANNOUNCED: "The ThingVisor has announced this on the bus.",
    Type.SOURCE_HEALTHY: "The ThingVisor reaches its source.",
    Type.FLAVOUR_RESOLVED: "The Flavour exists and is usable.",
    Type.PLACED: "A node was found for the pod.",
    Type.BROKER_READY: "The tenant's broker accepts connections.",
    Type.CONTROLLER_READY: "The controller beside the broker is connected to the bus.",
    Type.VTHINGS_ATTACHED: "Every vThing of the spec is attached.",
    Type.TENANCY_ENFORCED: "The bus enforces who may read and write; False under the static authoriser.",
}


class Reason(StrEnum):
    """Why a condition is as it is."""

    # good news
    READY = "Ready"
    RESOLVED = "Resolved"
    VALID = "Valid"
    RUNNING = "Running"
    ANNOUNCED = "Announced"
    HEALTHY = "Healthy"
    PLACED = "Placed"
    CONNECTED = "Connected"
    ATTACHED = "Attached"
    ENFORCED = "Enforced"
    # work goes on
    PROGRESSING = "Progressing"
    WAITING_FOR_POD = "WaitingForPod"
    WAITING_FOR_BUS = "WaitingForBus"
    WAITING_FOR_REPORT = "WaitingForReport"
    # somebody must act
    TYPE_NOT_FOUND = "TypeNotFound"
    FLAVOUR_NOT_FOUND = "FlavourNotFound"
    PARAMS_INVALID = "ParamsInvalid"
    SCHEMA_INVALID = "SchemaInvalid"
    SECRET_MISSING = "SecretMissing"
    IMAGE_UNAVAILABLE = "ImageUnavailable"
    CRASH_LOOP = "CrashLoop"
    UNSCHEDULABLE = "Unschedulable"
    REFUSED = "Refused"
    THINGVISOR_NOT_FOUND = "ThingVisorNotFound"
    THINGVISOR_NOT_READY = "ThingVisorNotReady"
    NAME_MISMATCH = "NameMismatch"
    NOT_ANNOUNCED = "NotAnnounced"
    MAKE_FAILED = "MakeFailed"
    WITHDRAWN = "Withdrawn"
    VTHING_NOT_FOUND = "VThingNotFound"
    ACCESS_DENIED = "AccessDenied"
    ATTACH_FAILED = "AttachFailed"
    NOT_ENFORCED = "NotEnforced"
    # what a ThingVisor says of its source
    UNAUTHORIZED = "Unauthorized"
    UNREACHABLE = "Unreachable"
    RATE_LIMITED = "RateLimited"
    BAD_RESPONSE = "BadResponse"
