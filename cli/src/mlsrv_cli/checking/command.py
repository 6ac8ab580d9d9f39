"""Command ``mlsrv plugins check``: runs the contract suites of `mlsrv_testing` on an installed plugin."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import rich_click as click

from mlsrv.errors import ConfigurationError
from mlsrv_cli.checking.check_request import CheckRequest
from mlsrv_cli.checking.printing import print_report
from mlsrv_cli.options import plugin_options
from mlsrv_cli.sources import assignments

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
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long one case may take; what takes longer has failed.",
)
@plugin_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    name: str,
    model: Path | None,
    samples: Sequence[Path],
    suites: Sequence[Path],
    set_: Sequence[str],
    timeout: float,
    plugin_files: Sequence[str],
    block: Sequence[str],
    as_json: bool,
) -> int:
    """Run the contract suites against a plugin. NAME is its name, its distribution, or what it offers.

    The author's own suites are those of a module "contracts" beside the plugin's, or of --suite. What they
    leave out is tried with samples of ours; the report says what was not checked, and why.

    Exit code 0: every case that was run passed; 1: one failed.
    """
    if importlib.util.find_spec("mlsrv_testing") is None or importlib.util.find_spec("pytest") is None:
        raise ConfigurationError("mlsrv plugins check needs mlsrv-testing (pip install mlsrv-testing).")
    from mlsrv_cli.checking.supervisor import supervise
    from mlsrv_testing.checks import Findings, Given
    from mlsrv_testing.checks.samples import read_samples

    values = {key: _value(text) for key, text in assignments(set_).items()}
    given = Given(values, model, read_samples(samples), suites)
    with tempfile.TemporaryDirectory(prefix="mlsrv-check-") as folder, _progress(name) as progress:
        findings = Findings(progress)
        request = CheckRequest(name, plugin_files, block, given, timeout, Path(folder))
        supervise(request, findings)
    report = findings.report()
    if as_json:
        print(json.dumps(attrs.asdict(report) | {"passed": report.passed}, indent=2))
    else:
        print_report(report)
    return 0 if report.passed else 1


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
