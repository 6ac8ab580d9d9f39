"""``mlsrv plugins check``: runs the contract suites of `mlsrv.testing` against an installed plugin."""

from __future__ import annotations

import difflib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import rich_click as click

from mlsrv.errors import ConfigurationError
from mlsrv.plugins import PluginRow, Plugins
from mlsrv_cli.options import load_plugins, plugin_options
from mlsrv_cli.sources import assignments, make_importable
from mlsrv_cli.tables import print_table

if TYPE_CHECKING:
    from mlsrv.testing.checks import Case, Checked, Report

FILE = click.Path(dir_okay=False, exists=True, path_type=Path)


@click.command()
@click.argument("name")
@click.option(
    "--model",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="FOLDER",
    help="A folder with a model of the plugin's runtime.",
)
@click.option(
    "--sample",
    "samples",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="A request, or a tensor, as JSON: for codecs, and for the model. May be repeated.",
)
@click.option(
    "--suite",
    "suites",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="A file of tests with contract suites of the author. May be repeated.",
)
@click.option(
    "--set",
    "set_",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the server or of models with which the plugin is tried. May be repeated.",
)
@plugin_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    name: str,
    model: Path | None,
    samples: Sequence[Path],
    suites: Sequence[Path],
    set_: Sequence[str],
    plugin_files: Sequence[str],
    block: Sequence[str],
    as_json: bool,
) -> int:
    """Run the contract suites against the plugin NAME: its name, its distribution, or something it offers.

    The author's own suites are those of a module "contracts" beside the plugin's, or of --suite. What they
    leave out is tried with samples of ours; the report says what was not checked, and why.

    Exit code 0: every case that was run passed; 1: one failed.
    """
    if importlib.util.find_spec("pytest") is None:
        raise ConfigurationError("mlsrv plugins check needs the package pytest (pip install pytest).")
    from mlsrv.testing.checks import Given, check_plugin
    from mlsrv.testing.checks.samples import read_samples

    make_importable(model or Path())
    plugins = load_plugins(plugin_files, block).plugins
    row = find_plugin(name, plugins)
    values = {key: _value(text) for key, text in assignments(set_).items()}
    given = Given(values, model, read_samples(samples), suites)
    with _progress(row.name) as progress:
        report = check_plugin(row, plugins, given, progress)
    print(json.dumps(attrs.asdict(report) | {"passed": report.passed}, indent=2)) if as_json else _print(
        report
    )
    return 0 if report.passed else 1


def find_plugin(name: str, plugins: Plugins) -> PluginRow:
    """The plugin of this name, or distribution, or with an offer of this name.

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


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextmanager
def _progress(name: str) -> Iterator[Callable[[str, int, int], None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[case]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"Checking {name}", total=None, case="")

        def advance(case: str, ended: int, total: int) -> None:
            bar.update(task, completed=ended, total=total, case=case)

        yield advance


def _print(report: Report) -> None:
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
    """The cases that were not run, by what they are about and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in checked:
        if one.missing:
            reasons[one.subject, one.missing] = []
        for case in one.cases:
            if case.outcome == "not checked":
                reasons.setdefault((one.subject, case.detail), []).append(case.name)
    return reasons
