"""Report: the results of a check, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from attrs import field, frozen

Outcome: TypeAlias = Literal["passed", "failed", "not checked"]


@frozen
class Case:
    """One case of a suite.

    Attributes:
        name: the test, with its parameters.
        outcome: how it went.
        detail: why it failed, or was not checked; empty if it passed.
        guards: what the case guards against.
        seconds: how long it took.
    """

    name: str
    outcome: Outcome
    detail: str = ""
    guards: str = ""
    seconds: float = 0.0


@frozen
class Checked:
    """The cases tried on one thing that a plugin offers, or on the plugin itself.

    Attributes:
        subject: what it is: ``"plugin hex"``, ``"input codec hex"``.
        suite: the suite, and where its samples are from; empty if there was none to run.
        cases: what it found.
        missing: why nothing was tried, and what would change that; empty if something was.
    """

    subject: str
    suite: str = ""
    cases: Sequence[Case] = ()
    missing: str = ""

    def count(self, outcome: Outcome) -> int:
        """Return the number of cases with an outcome."""
        return sum(case.outcome == outcome for case in self.cases)


@frozen
class Report:
    """A whole check.

    Attributes:
        plugin, distribution, version: what was checked.
        checked: each suite that was run, and each thing for which there was none.
    """

    plugin: str
    distribution: str
    version: str
    checked: Sequence[Checked] = field(factory=tuple)

    @property
    def passed(self) -> bool:
        """True if no case failed."""
        return not any(one.count("failed") for one in self.checked)
