"""Decisions, one file per kind: (desired, world) → actions, conditions, events. Pure: no await, clock, randomness, I/O.

:mod:`.base` holds what every planner takes and gives; the engine (:mod:`tephra.reconcile.loop`) runs `PLANNERS`.
"""
