"""The engine: observe → plan → act, level-triggered, in one asyncio loop.

Read :mod:`.loop` first: everything that arrives changes :mod:`.cache` and puts a key into :mod:`.queue`; workers
take keys, let a pure planner (:mod:`tephra.plan`) decide on a :mod:`.world`, have the actions performed, and write
one status (:mod:`.status`). :mod:`.events`, :mod:`.metrics`, :mod:`.health` and :mod:`.logs` tell people about it.
"""
