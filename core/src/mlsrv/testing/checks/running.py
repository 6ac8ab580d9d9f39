"""Runs suites that are in memory with pytest, and takes down what it says."""

from __future__ import annotations

import contextlib
import inspect
import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mlsrv.testing.checks.report import Case, Outcome

Progress = Callable[[str, int, int], None]
"""Is told of each case that ended: its name, its number, and how many there are."""

_WITHOUT = ("-p", "no:cacheprovider", "-p", "no:asyncio")
"""Plugins of pytest that are not needed: cases run an event loop of their own."""

_MARK = "Guards against:"


def run_suites(suites: Mapping[str, type], progress: Progress | None = None) -> dict[str, list[Case]]:
    """Run suites, with no configuration of pytest but its defaults.

    Args:
        suites: the classes by name; each begins with "Test".
        progress: is told how it goes.

    Returns:
        The cases of each suite.

    Raises:
        KeyboardInterrupt: ctrl-C.
        RuntimeError: pytest itself failed; the message is what it said.
    """
    session = _Session(suites, progress)
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
    return session.found


class _Session:
    """A plugin of pytest that collects the suites in place of the file that pytest was given."""

    def __init__(self, suites: Mapping[str, type], progress: Progress | None) -> None:
        self._suites = suites
        self._progress = progress
        self._total = 0
        self._ended = 0
        self.found: dict[str, list[Case]] = {name: [] for name in suites}

    def pytest_pycollect_makemodule(self, module_path: Path, parent: Any) -> pytest.Module:
        module = pytest.Module.from_parent(parent, path=module_path)
        module.obj = ModuleType("suites")
        for name, suite in self._suites.items():
            setattr(module.obj, name, suite)
        return module

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._total = len(items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" and report.outcome == "passed":
            return  # what goes wrong before or after a case counts, too
        _, name, case = report.nodeid.split("::", 2)
        self.found[name].append(self._case(self._suites[name], case, report))
        self._ended += 1
        if self._progress is not None:
            self._progress(case, min(self._ended, self._total), self._total)

    def _case(self, suite: type, name: str, report: pytest.TestReport) -> Case:
        outcomes: dict[str, Outcome] = {"passed": "passed", "failed": "failed", "skipped": "not checked"}
        doc = inspect.getdoc(getattr(suite, name.partition("[")[0], None)) or ""
        guards = " ".join(doc.partition(_MARK)[2].split())
        return Case(name, outcomes[report.outcome], _detail(report), guards, round(report.duration, 3))


def _detail(report: pytest.TestReport) -> str:
    told: Any = report.longrepr
    if report.passed or told is None:
        return ""
    if isinstance(told, tuple):  # where a test was skipped, and why
        return str(told[2]).removeprefix("Skipped: ")
    crash = getattr(told, "reprcrash", None)
    text = crash.message if crash is not None else str(told)
    return text.removeprefix("AssertionError: ").strip()
