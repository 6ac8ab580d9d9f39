"""Command line ``mlsrv``: arguments, logging, signals and printing. The work itself is done by the kernel."""

from mlsrv_cli.commands import CommandTable

__all__ = ["CommandTable"]
