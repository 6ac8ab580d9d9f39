"""Check process: runs a plugin's code for a check, because that code may hang or crash.

Started as ``python -m mlsrv_cli.checking.child``, it reads a pickled `CheckRequest` from the standard input
and writes its progress as lines of JSON.
"""

from __future__ import annotations

import difflib
import faulthandler
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from mlsrv.errors import ConfigurationError, MLSrvError
from mlsrv.plugins import PluginRow, Plugins
from mlsrv_cli.checking.check_request import CheckRequest
from mlsrv_cli.options import load_plugins
from mlsrv_cli.sources import make_importable

if TYPE_CHECKING:
    from mlsrv_testing.checks import Case


_GRACE = 5.0


class EventWriter:
    """Writes the progress of a check for the parent process, and ends this process if a case takes too long.

    Args:
        out: where to; one event a line.
        request: has the time limit.
    """

    def __init__(self, out: TextIO, request: CheckRequest) -> None:
        self._out = out
        self._stacks = request.stacks.open("w", encoding="utf-8")
        # A coroutine that takes too long fails by itself, with the place where it waits.
        self._limit = request.timeout + _GRACE
        faulthandler.enable(self._stacks)

    def write(self, event: str, *arguments: Any) -> None:
        """Write one event: the name of a method of `Listener`, or an end of the check."""
        self._out.write(json.dumps([event, *arguments]) + "\n")
        self._out.flush()

    def plugin(self, name: str, distribution: str, version: str) -> None:
        self.write("plugin", name, distribution, version)

    def subject(self, number: int, label: str) -> None:
        self.write("subject", number, label)

    def prepared(self, number: int, suite: str, missing: str) -> None:
        self.write("prepared", number, suite, missing)

    def collected(self, number: int, cases: Sequence[str]) -> None:
        self.write("collected", number, list(cases))

    def begins(self, number: int, case: str) -> None:
        self._stacks.seek(0)
        self._stacks.truncate()
        self.write("begins", number, case)
        # This needs no lock of the interpreter: it works while code in C holds that for ever.
        faulthandler.dump_traceback_later(self._limit, file=self._stacks, exit=True)

    def ended(self, number: int, case: Case) -> None:
        self.write("ended", number, attrs.asdict(case))

    def overrun(self, place: str) -> None:
        """Save the place at which the coroutine of a case waits, next to the stacks of the threads."""
        self._stacks.write(f"Coroutine:\n{place}\n")
        self._stacks.flush()

    def rests(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self.write("rests")


def main() -> None:
    """Run the check that is requested on the standard input."""
    request: CheckRequest = pickle.load(sys.stdin.buffer)
    tempfile.tempdir = str(request.folder)  # which the parent removes, also when this process dies
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # output of plugins must not mix with the events
    if hasattr(os, "register_at_fork"):
        # The parent reads to the end of the pipe; a process that a plugin forks must not hold it open.
        os.register_at_fork(after_in_child=out.close)
    events = EventWriter(out, request)
    events.plugin(request.name, "", "")
    events.begins(-1, "the plugins are loaded")
    try:
        _check(request, events)
    except MLSrvError as error:
        kind = "misconfigured" if isinstance(error, ConfigurationError) else "failed"
        events.write(kind, getattr(error, "problems", [str(error)]))
    else:
        events.write("done")


def _check(request: CheckRequest, events: EventWriter) -> None:
    from mlsrv_testing.checks.checking import run_check
    from mlsrv_testing.contracts.running import Limit, limit

    limit.set(Limit(request.timeout, events.overrun))
    make_importable(request.given.model or Path())
    plugins = load_plugins(request.plugin_files, request.block).plugins
    run_check(find_plugin(request.name, plugins), plugins, request.given, events, request.settled)


def find_plugin(name: str, plugins: Plugins) -> PluginRow:
    """Return the plugin with this name, this distribution, or an offer of this name.

    Raises:
        ConfigurationError: there is none, it is blocked, or several offer something of this name.
    """
    rows = [row for row in plugins.rows if not row.blocked]
    names: list[Callable[[PluginRow], Sequence[str]]] = [
        lambda row: [row.name],
        lambda row: [row.distribution],
        lambda row: [getattr(offer, "name", "") for offer in row.offers],
    ]
    for of in names:
        found = [row for row in rows if name in of(row)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(row.name for row in found)
            raise ConfigurationError(f'"{name}" may mean several plugins ({listed}); give the name of one.')
    known = sorted({row.name for row in rows})
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"installed are {', '.join(known) or 'none'}."
    raise ConfigurationError(f'No plugin is called "{name}" or offers that; {hint}')


if __name__ == "__main__":
    main()
