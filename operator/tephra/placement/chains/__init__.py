"""Chains: segment A* and the search over all walks, with certified bounds. The way in is :mod:`.chain`."""
