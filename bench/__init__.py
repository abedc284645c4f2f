"""Benchmarks: see docs/benchmarks.md.

``bench.overhead`` measures what a gateway adds to a provider, ``bench.classroom`` what it makes of a class that shares
a pool of free accounts.
"""
