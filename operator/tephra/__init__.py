"""Tephra: a Kubernetes operator that turns an edge/fog estate into one system.

Start at :mod:`tephra.app` (the start-up told as a story); `docs/architecture.md` draws the house.
"""
