"""Builds the table of model scores that Lumni ships (``lumni/catalogue/data/scores.json``)."""
