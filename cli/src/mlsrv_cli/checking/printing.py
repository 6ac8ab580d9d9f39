"""Check report: printed as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlsrv_cli.tables import print_table

if TYPE_CHECKING:
    from mlsrv_testing.checks import Case, Checked, Report


def print_report(report: Report) -> None:
    """Print the cases that passed, those that failed with the reason, and those that were not run."""
    origin = f" ({report.distribution} {report.version})" if report.version else ""
    print_table(
        ("what", "suite", "passed", "failed", "not checked"),
        [*map(_row, report.checked)],
        report.plugin + origin,
    )
    failed = [(one, case) for one in report.checked for case in one.cases if case.outcome == "failed"]
    for one, case in failed:
        print(f"\nFAILED {one.subject}: {case.name}\n{_indented(case)}")
    reasons = _unchecked(report.checked)
    if reasons:
        print("\nNot checked:")
        for (subject, reason), names in reasons.items():
            cases = f" ({', '.join(names)})" if names else ""
            print(f"  {subject}: {reason}{cases}")
    print(f"\n{_summary(report.checked, len(failed))}")


def _summary(checked: Sequence[Checked], failed: int) -> str:
    text = f"{failed} of the cases failed." if failed else "Every case that was run passed."
    untried = [one.subject for one in checked if one.missing]
    return f"{text} Not tried at all: {', '.join(untried)}." if untried else text


def _row(one: Checked) -> tuple[str, ...]:
    if not one.cases:
        return one.subject, one.suite, "", "", "everything"
    counts = (str(one.count(outcome)) for outcome in ("passed", "failed", "not checked"))
    return one.subject, one.suite, *counts


def _indented(case: Case) -> str:
    lines = [*case.detail.splitlines()[:12], *([f"Guards against: {case.guards}"] if case.guards else [])]
    return "\n".join(f"  {line}" for line in lines)


def _unchecked(checked: Sequence[Checked]) -> Mapping[tuple[str, str], list[str]]:
    """Group the cases that were not run by subject and reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in checked:
        if one.missing:
            reasons[one.subject, one.missing] = []
        for case in one.cases:
            if case.outcome == "not checked":
                reasons.setdefault((one.subject, case.detail), []).append(case.name)
    return reasons
