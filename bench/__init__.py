"""Benchmarks: us and the peer in the same run, printed as ratios with the noise floor; never timed tests."""
