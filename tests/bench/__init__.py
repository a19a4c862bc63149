"""Benchmarks. Run one by hand: `python -m tests.bench.hotpath`; pytest runs none."""
