"""Alerts: what people should look at, found by rules over the metrics or reported, and told once."""

OVER = "over"
"""The fact of an alert that says it has ended."""
