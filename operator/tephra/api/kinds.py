"""The kinds of ``tephra.dev/v1alpha1`` in one table: for the CRD generator, the reference, planners and the plugin."""

from collections.abc import Mapping
from typing import NamedTuple

from tephra.api import flavour, thingvisor, thingvisortype, vsilo, vthing
from tephra.api.base import KindInfo, Model, Status


class Kind(NamedTuple):
    """A custom resource: its names and its two halves."""

    info: KindInfo
    spec: type[Model]
    status: type[Status]


KINDS: Mapping[str, Kind] = {
    kind.info.kind: kind
    for kind in (
        Kind(flavour.INFO, flavour.FlavourSpec, flavour.FlavourStatus),
        Kind(thingvisortype.INFO, thingvisortype.ThingVisorTypeSpec, thingvisortype.ThingVisorTypeStatus),
        Kind(thingvisor.INFO, thingvisor.ThingVisorSpec, thingvisor.ThingVisorStatus),
        Kind(vthing.INFO, vthing.VThingSpec, vthing.VThingStatus),
        Kind(vsilo.INFO, vsilo.VSiloSpec, vsilo.VSiloStatus),
    )
}
