"""What every program of ours in a pod needs: logs, and the HTTP port for probes and metrics.

Used by :mod:`tephra.things` and :mod:`tephra.silos`; it knows neither, nor the bus. The operator has its own, with
the object in hand in every line (:mod:`tephra.reconcile.logs`).
"""
