"""Which hosts may sleep: what power and moves cost, and the consolidation planner (:mod:`.consolidate`)."""
