"""Requests of any other shape: beam search, CP-SAT, batches; all on the arrays of :mod:`.instance`."""
