"""Benchmarks of the placement core, one module per row."""
