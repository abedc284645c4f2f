"""The straight line that every request takes."""
