"""What a ThingVisor counts: metrics ``tephra_thingvisor_*``."""

from dataclasses import dataclass

from tephra.pod.probes import counted


@dataclass(slots=True)
class Stats:
    """Every field is a metric; see :mod:`tephra.pod.probes`."""

    published_total: int = counted("Entities published.")
    refused_total: int = counted("Entities that the bus refused.")
    repaired_total: int = counted("Entities sent again to a silo that missed them or asked for last values.")
    commands_total: int = counted("Commands taken from silos.")
    commands_failed_total: int = counted("Commands that were refused or failed.")
    things_now: int = counted("vThings announced now.")
    bus_connected_now: int = counted("1 while connected to the bus.")
    source_healthy_now: int = counted("1 while the source serves.")
