"""What the controller counts; served by :mod:`tephra.pod.probes` as ``tephra_silo_*``."""

from dataclasses import dataclass

from tephra.pod.probes import counted


@dataclass(slots=True)
class Stats:
    """Counters since the start, and gauges (``_now``)."""

    delivered_total: int = counted("Entities that the tenant's broker acknowledged.")
    duplicates_total: int = counted("Messages that came again and were dropped.")
    lost_total: int = counted("Messages given up: neither the bus nor the ThingVisor had them any more.")
    refused_total: int = counted("Entities and answers that the tenant's broker refused.")
    repairs_total: int = counted("Requests to ThingVisors to send something again.")
    commands_total: int = counted("Commands taken from the tenant and put on the bus.")
    commands_refused_total: int = counted("Commands that could not be understood or were not allowed.")
    answers_total: int = counted("Statuses and results of commands handed to the tenant.")
    attached_now: int = counted("vThings served now.")
    unacknowledged_now: int = counted("Messages of the bus that the tenant's broker has not acknowledged yet.")
    bus_connected_now: int = counted("1 while connected to the core bus.")
    broker_connected_now: int = counted("1 while connected to the tenant's broker.")
