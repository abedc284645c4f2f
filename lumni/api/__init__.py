"""The surfaces: thin adapters between the wire and the one pipeline."""
