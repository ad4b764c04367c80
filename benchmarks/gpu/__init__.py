"""Acceptance and benchmarks on an NVIDIA GPU: ``benchmarks/gpu/acceptance.sh``."""
