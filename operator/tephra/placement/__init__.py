"""Placement: where functions run and which way their traffic goes. Pure: no I/O, equal answers for equal input.

The model is :mod:`.model` (what is asked and answered) and :mod:`.residual` (what is free); :mod:`.solve` is the way
in, :mod:`.check` proves a result, `tephra-place` (:mod:`tephra.cli.place`) is the command line. The rooms:

- :mod:`.chains`: segment A*, the search over all walks, and their certified bounds;
- :mod:`.graphs`: every other shape, by beam search and CP-SAT, and batches by large neighbourhoods;
- :mod:`.ilp`: the papers' program as printed, the oracle;
- :mod:`.schedule`: function scheduling; :mod:`.energy`: which hosts may sleep; :mod:`.forecast`: the load to come;
- :mod:`.sources`: GraphML and Kubernetes Nodes as topologies.
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
