"""Running: runs suites in memory with pytest, and collects the results."""

from __future__ import annotations

import contextlib
import inspect
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mlsrv_testing.checks.findings import Listener
from mlsrv_testing.checks.report import Case, Outcome

_WITHOUT = ("-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:faulthandler")
"""Plugins of pytest that are not needed, as cases run an event loop of their own, or are in the way:
the caller of a check may have set faulthandler to tell where it hangs."""

_MARK = "Guards against:"


def run_suites(suites: Mapping[int, type], listener: Listener) -> None:
    """Run suites, with no configuration of pytest but its defaults.

    Args:
        suites: the classes, by their numbers.
        listener: is told what is run and how it ends.

    Raises:
        KeyboardInterrupt: ctrl-C.
        RuntimeError: pytest itself failed; the message is what it said.
    """
    session = _Session(suites, listener)
    with tempfile.TemporaryDirectory(prefix="mlsrv-check-") as folder:
        config = Path(folder, "pytest.ini")
        config.write_text("[pytest]\n", encoding="utf-8")
        arguments = ["-c", str(config), "--rootdir", folder, "--basetemp", str(Path(folder, "tmp"))]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = pytest.main([*arguments, *_WITHOUT, __file__], plugins=[session])
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest could not run the suites: {said.getvalue().strip()}")


class _Session:
    """A plugin of pytest that collects the suites in place of the file that pytest was given."""

    def __init__(self, suites: Mapping[int, type], listener: Listener) -> None:
        self._suites = suites
        self._listener = listener

    def pytest_pycollect_makemodule(self, module_path: Path, parent: Any) -> pytest.Module:
        module = pytest.Module.from_parent(parent, path=module_path)
        module.obj = ModuleType("suites")
        for number, suite in self._suites.items():
            setattr(module.obj, f"Test{number}", suite)
        return module

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for number in self._suites:
            cases = [case for of, case in (_place(item.nodeid) for item in items) if of == number]
            self._listener.collected(number, cases)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._listener.begins(*_place(nodeid))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return  # what goes wrong before or after a case counts, too
        number, case = _place(report.nodeid)
        self._listener.ended(number, self._case(self._suites[number], case, report))

    def pytest_runtest_logfinish(self) -> None:
        self._listener.rests()

    def _case(self, suite: type, name: str, report: pytest.TestReport) -> Case:
        outcomes: dict[str, Outcome] = {"passed": "passed", "failed": "failed", "skipped": "not checked"}
        doc = inspect.getdoc(getattr(suite, name.partition("[")[0], None)) or ""
        guards = " ".join(doc.partition(_MARK)[2].split())
        return Case(name, outcomes[report.outcome], _detail(report), guards, round(report.duration, 3))


def _place(nodeid: str) -> tuple[int, str]:
    """The number of the suite and the name of the case."""
    _, suite, case = nodeid.split("::", 2)
    return int(suite.removeprefix("Test")), case


def _detail(report: pytest.TestReport) -> str:
    told: Any = report.longrepr
    if report.passed or told is None:
        return ""
    if isinstance(told, tuple):  # where a test was skipped, and why
        return str(told[2]).removeprefix("Skipped: ")
    crash = getattr(told, "reprcrash", None)
    text = crash.message if crash is not None else str(told)
    return text.removeprefix("AssertionError: ").strip()
