"""The vSilo controller: the process beside a tenant's broker that brings it the vThings it asked for.

:mod:`.runtime` follows the desired state on the bus, :mod:`.relay` carries the data in order and without loss,
:mod:`.protocols` speaks to the broker. Imports only :mod:`tephra.formats`, :mod:`tephra.bus` and :mod:`tephra.pod`, so
that it starts fast and its image holds no Kubernetes client.
"""
