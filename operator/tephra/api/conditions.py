"""The vocabulary of conditions: every type and every reason that Tephra ever writes, as data.

``docs/reference/conditions.md`` is generated from these; a test fails when a planner uses a reason that is not here or
when one is here that nobody uses. Polarity: every type is good when True, except ``Reconciling`` and ``Stalled``
(kstatus' two). Neighbours: :mod:`tephra.plan` makes conditions, :mod:`tephra.reconcile.status` writes them.
"""

from enum import StrEnum
from typing import NamedTuple


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


class Cause(NamedTuple):
    """What a reason means, and what to do about it (nothing, for good news)."""

    meaning: str
    step: str = ""


CAUSE: dict[Reason, Cause] = {
    Reason.READY: Cause("Everything that the spec asks for is in place."),
    Reason.RESOLVED: Cause("The type or flavour was found and can be used."),
    Reason.VALID: Cause("The parameters, or the schema itself, passed their check."),
    Reason.RUNNING: Cause("The pod runs and its probes pass."),
    Reason.ANNOUNCED: Cause("The ThingVisor serves this now."),
    Reason.HEALTHY: Cause("The source answers the ThingVisor."),
    Reason.PLACED: Cause("The scheduler found a node."),
    Reason.CONNECTED: Cause("The connection stands."),
    Reason.ATTACHED: Cause("Data of every listed vThing flow into the silo."),
    Reason.ENFORCED: Cause("The bus lets every identity do what it may, and nothing else."),
    Reason.PROGRESSING: Cause("Work on the newest spec goes on.", "Wait."),
    Reason.WAITING_FOR_POD: Cause("The pod is being made or is starting.", "Wait; a first start may pull images."),
    Reason.WAITING_FOR_BUS: Cause("The core bus does not answer the operator.", "Look at the pod of the bus."),
    Reason.WAITING_FOR_REPORT: Cause(
        "The pod has not yet confirmed the newest spec on the bus.", "Wait, then read its log."
    ),
    Reason.TYPE_NOT_FOUND: Cause("No ThingVisorType has this name.", "Apply it, or correct spec.type."),
    Reason.FLAVOUR_NOT_FOUND: Cause("No Flavour has this name.", "Apply it, or correct spec.flavour."),
    Reason.PARAMS_INVALID: Cause("spec.params breaks the schema.", "Correct the path that the message names."),
    Reason.SCHEMA_INVALID: Cause("spec.params.schema is no JSON Schema, or its example breaks it.", "Correct it."),
    Reason.SECRET_MISSING: Cause(
        "The Secret, or a required key of it, is not there.",
        "Make it in the same namespace; a running pod sees it within 2 min.",
    ),
    Reason.IMAGE_UNAVAILABLE: Cause("The image cannot be pulled.", "Correct its name, or load it on the nodes."),
    Reason.CRASH_LOOP: Cause("The program ends again and again.", "The message holds its last words; read its log."),
    Reason.UNSCHEDULABLE: Cause(
        "No node takes the pod.", "The scheduler says why: a site without nodes, or too few resources."
    ),
    Reason.REFUSED: Cause(
        "The API server refuses a child: quota, Pod Security, or a RuntimeClass that does not exist."
    ),
    Reason.THINGVISOR_NOT_FOUND: Cause(
        "The ThingVisor that spec.id names does not exist.", "Make it, or delete the VThing."
    ),
    Reason.THINGVISOR_NOT_READY: Cause("The ThingVisor is there but does not work.", "Look at its own conditions."),
    Reason.NAME_MISMATCH: Cause(
        "metadata.name is not the image of spec.id.", "Make it again under the name in the message."
    ),
    Reason.NOT_ANNOUNCED: Cause("The ThingVisor does not offer this thing.", "Compare spec.id with what it announces."),
    Reason.MAKE_FAILED: Cause("The ThingVisor could not make the thing from spec.params; the message says why."),
    Reason.WITHDRAWN: Cause(
        "The ThingVisor no longer offers the thing.", "A VThing written by hand stays until it is deleted."
    ),
    Reason.VTHING_NOT_FOUND: Cause(
        "A listed vThing is not in the catalogue.", "Correct its id, or wait until it is announced."
    ),
    Reason.ACCESS_DENIED: Cause("The ThingVisor's spec.access does not allow this namespace.", "Ask its owner."),
    Reason.ATTACH_FAILED: Cause("The silo's controller could not attach a vThing; the message says why."),
    Reason.NOT_ENFORCED: Cause("The authoriser is static: an administrator must load the exported rules into the bus."),
    Reason.UNAUTHORIZED: Cause("The source refuses the key.", "Correct the Secret; the pod sees it within 2 min."),
    Reason.UNREACHABLE: Cause("The source does not answer.", "Check its address and the egress of the type."),
    Reason.RATE_LIMITED: Cause("The source asks for fewer requests.", "Raise the period."),
    Reason.BAD_RESPONSE: Cause("The source answers something unexpected; the message quotes it."),
}
"""For the reference and for ``kubectl tephra why``."""
