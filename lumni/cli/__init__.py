"""The command line: one file a command group. Heavy imports stay inside the commands, so that ``--help`` is fast."""
