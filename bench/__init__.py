"""Benchmarks: ``bench.overhead`` measures what a gateway adds to a provider. See docs/benchmarks.md."""
