"""Benchmarks of gradients: ``python -m benchmarks`` (docs/benchmarks.md reads the results).

A case is one function of a numpy namespace, so that every peer differentiates the same program; see `benchmarks.case`.
"""
