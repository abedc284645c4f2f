"""Kinds of characters, by number. Their order makes ranges of what is asked for together."""

SPACE, LINE, STOP, ASKS, CRIES, LOWER, CAPITAL, DIGIT = range(8)
WIDE_STOP, WIDE_ASKS, COMMA, QUOTE, APOSTROPHE, BRACKET, OPERATOR = range(8, 15)
MATHS, DOLLAR, BACKSLASH, LETTER, GREEK, CYRILLIC, EAST, OTHER, ELSE = range(15, 24)
KINDS = 24
"""So many; ``LETTER`` to ``OTHER`` are letters beyond ASCII."""
