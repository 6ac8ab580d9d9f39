"""The ``mlsrv`` command: arguments, logging, signals and printing; what it does is in the kernel."""

from mlsrv_cli.commands import CommandTable

__all__ = ["CommandTable"]
