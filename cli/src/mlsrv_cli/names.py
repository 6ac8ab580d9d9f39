"""Names: those that several modules of the command line agree on."""

COMPLETION_VARIABLE = "_MLSRV_COMPLETE"
"""The environment variable by which a shell asks for completions."""
