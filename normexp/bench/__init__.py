"""Benchmark of the norms: time and memory in each model, relative to the same network without a norm."""
