"""Measurements; they need Linux, for /proc and taskset.

Each module adds what it measured to results.json, from which benchmarks.report writes RESULTS.md.
"""
