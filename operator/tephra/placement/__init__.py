"""Placement core: pure functions that decide where things run; no I/O, no clock, no global randomness."""
