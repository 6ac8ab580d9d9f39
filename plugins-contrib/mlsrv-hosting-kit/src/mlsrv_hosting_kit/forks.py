"""Forks: ends a process that code of a model has forked and let return from its call.

Such a child is a copy of the server in the midst of a request: it shares the connections and the event loop's
descriptors, and would answer beside its parent and keep ports and connections open. Children of
multiprocessing and subprocess never return.
"""

import os

_MESSAGE = b"A child process, forked by code of a model, came back from the call of that code; it ends.\n"
_EXIT_CODE = 1

forks = 0
"""How many forks lie between this process and the one that imported this module."""


def end_if_forked(before: int) -> None:
    """End this process if it was forked since `forks` was `before`. Does not return then."""
    if forks != before:
        try:
            os.write(2, _MESSAGE)
        finally:
            os._exit(_EXIT_CODE)


def _count() -> None:
    global forks
    forks += 1


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    os.register_at_fork(after_in_child=_count)
