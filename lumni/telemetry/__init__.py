"""Where the records are seen."""
