"""``kubectl tephra``: what the system does and why, from a shell.

:mod:`.main` parses and dispatches (nothing heavy is imported for ``--help``); one module per verb; :mod:`.tree` and
:mod:`.health` are pure. All speak to the API server through :mod:`tephra.kube`, and ``tail`` to a silo's broker.
"""
