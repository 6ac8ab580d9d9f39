"""Findings: the results of a check while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field

from mlsrv_testing.checks.report import Case, Checked, Report

PREPARING = "its suite is made"
"""What goes on before the cases of a suite: samples are made, or a model is loaded."""

Progress = Callable[[str, int, int], None]
"""Is told of each case that ended: its name, its number, and how many there are."""


class Listener(Protocol):
    """Receives the progress of a check. Each thing that is tried has a number, from 0."""

    def plugin(self, name: str, distribution: str, version: str) -> None:
        """Note the plugin that is checked."""

    def subject(self, number: int, label: str) -> None:
        """Note something to try."""

    def prepared(self, number: int, suite: str, missing: str) -> None:
        """There is a suite for it, or something is missing for one."""

    def collected(self, number: int, cases: Sequence[str]) -> None:
        """The suite has these cases, which run in this order."""

    def begins(self, number: int, case: str) -> None:
        """A case is run now; or something else that may run code of the plugin."""

    def ended(self, number: int, case: Case) -> None:
        """A case was run; what cleans up after it may still run."""

    def rests(self) -> None:
        """Nothing of the plugin runs now."""


@define
class _Subject:
    label: str
    suite: str = ""
    missing: str = ""
    cases: list[Case] = field(factory=list)
    waiting: list[str] | None = None


class Findings:
    """Makes the report of a check.

    Args:
        progress: is told how it goes.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._plugin = ("", "", "")
        self._subjects: dict[int, _Subject] = {}
        self._running: tuple[int, str, float] | None = None

    def plugin(self, name: str, distribution: str, version: str) -> None:
        self._plugin = (name, distribution, version)

    def subject(self, number: int, label: str) -> None:
        self._subjects[number] = _Subject(label)

    def prepared(self, number: int, suite: str, missing: str) -> None:
        self._subjects[number].suite, self._subjects[number].missing = suite, missing

    def collected(self, number: int, cases: Sequence[str]) -> None:
        self._subjects[number].waiting = list(cases)

    def begins(self, number: int, case: str) -> None:
        self._running = (number, case, time.monotonic())

    def ended(self, number: int, case: Case) -> None:
        subject = self._subjects[number]
        subject.cases.append(case)
        if subject.waiting and case.name in subject.waiting:
            subject.waiting.remove(case.name)
        if self._progress is not None:
            done = sum(len(one.cases) for one in self._subjects.values())
            left = sum(len(one.waiting or ()) for one in self._subjects.values())
            self._progress(case.name, done, done + left)

    def rests(self) -> None:
        self._running = None

    def broke_off(self, why: str) -> bool:
        """The check came to no end: what ran last failed, and the rest of its suite cannot be run.

        Args:
            why: the reason, and the place.

        Returns:
            Whether it makes sense to go on without what is `settled`.
        """
        number, name, began = self._running or (-1, "it ends", time.monotonic())
        self._running = None
        subject = self._subjects.setdefault(number, _Subject(f"plugin {self._plugin[0]}"))
        left = [case for case in subject.waiting or () if case != name]
        self.ended(number, Case(name, "failed", why, seconds=round(time.monotonic() - began, 3)))
        for case in left:
            self.ended(number, Case(case, "not checked", f"{name} came to no end"))
        subject.waiting = []
        return number >= 0

    @property
    def settled(self) -> frozenset[int]:
        """The numbers of what nothing more can be found about."""
        return frozenset(number for number, one in self._subjects.items() if one.waiting == [])

    def report(self) -> Report:
        """Return the report of the findings so far."""
        found = [
            Checked(one.label, one.suite, tuple(one.cases), one.missing)
            for _, one in sorted(self._subjects.items())
        ]
        return Report(*self._plugin, found)
