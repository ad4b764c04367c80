"""Benchmarks of `vinfer.ops` on the CPU against other libraries: ``python -m benchmarks.ops``."""
