"""Entry point of ``mlsrv``. It imports next to nothing at first, so that help and version appear at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mlsrv_cli.names import COMPLETION_VARIABLE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows ``mlsrv``; that of the process by default.

    Returns:
        The exit code: 0 when all went well (also for a server that was asked to stop), 2 for a mistake in
        arguments or settings, 1 for any other failure.
    """
    _open_closed_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    completing = COMPLETION_VARIABLE in os.environ
    if not completing and given in ([], ["-h"], ["--help"]):
        from mlsrv_cli.overview import print_overview

        print_overview()
        return 0 if given else 2
    if not completing and given == ["--version"]:
        from mlsrv_cli.version import version_line

        print(version_line())
        return 0
    try:
        from mlsrv_cli.group import run

        return run(given)
    except KeyboardInterrupt:
        return 130


def _open_closed_streams() -> None:
    """Open the null device in place of standard streams that the caller has closed (``>&-``).

    Python has None for such a stream, and the next file or socket would take its descriptor.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115  # for the whole process
