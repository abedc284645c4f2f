"""Builds what Lumni ships ready-made: trained weights and curated tables. Needed to change them, not to run."""
