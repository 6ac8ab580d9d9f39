"""Command line: the command ``mlserver``."""
