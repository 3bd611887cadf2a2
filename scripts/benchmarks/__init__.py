"""The suites of `scripts/benchmark.py`, and the published scheme that they compare with."""
