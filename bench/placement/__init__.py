"""Benchmarks of the placement core; see :mod:`bench.placement.__main__`."""
