"""What may be called now, and when: pools, reservations, the fair queue, breakers. See ``docs/quota.md``."""
