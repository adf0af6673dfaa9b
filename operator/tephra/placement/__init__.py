"""Placement: where functions run and which way their traffic goes. Pure: no I/O, equal answers for
equal input.

The model is :mod:`.model` (what is asked and answered) and :mod:`.residual` (what is free); :mod:`.solve` is the way
in, :mod:`.check` proves a result, `tephra-place` (:mod:`tephra.cli.place`) is the command line.
"""

from tephra.placement.model import (
    Affinity,
    Capacity,
    Channel,
    Endpoint,
    Function,
    Image,
    Isolation,
    Layer,
    Link,
    Node,
    Placement,
    Policy,
    PowerCurve,
    Refusal,
    Relaxation,
    Request,
    Scope,
    Site,
    Topology,
)
from tephra.placement.residual import Guest, Residual
from tephra.placement.shapes import Shape

__all__ = [
    "Affinity",
    "Capacity",
    "Channel",
    "Endpoint",
    "Function",
    "Guest",
    "Image",
    "Isolation",
    "Layer",
    "Link",
    "Node",
    "Placement",
    "Policy",
    "PowerCurve",
    "Refusal",
    "Relaxation",
    "Request",
    "Residual",
    "Scope",
    "Shape",
    "Site",
    "Topology",
]
