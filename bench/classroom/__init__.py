"""A replayable class: what a gateway makes of eight free accounts when sixty students begin at once.

``python -m bench.classroom`` runs it; docs/benchmarks.md says what its figures mean.
"""
