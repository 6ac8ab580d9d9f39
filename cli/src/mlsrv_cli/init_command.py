"""Command ``mlsrv init``: a folder to start from, for a model or a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import rich_click as click

from mlsrv_cli.scaffold import PLUGIN_KINDS, distribution_of, model_files, plugin_files, write_folder

PATH = click.option(
    "--path",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="The folder to make; if it exists, it must be empty. Default: NAME, in this folder.",
)


@click.group()
def init() -> None:
    """Make a folder for a new model or a new plugin, with tests that pass."""


@init.command()
@click.argument("name")
@PATH
def model(name: str, path: Path | None) -> None:
    """Make a folder with the custom model NAME: its code, its settings, a test."""
    _write(path or Path(name), model_files(name), ["pytest", "mlsrv start ."])


@init.command()
@click.argument("kind", type=click.Choice(PLUGIN_KINDS))
@click.argument("name")
@PATH
def plugin(kind: str, name: str, path: Path | None) -> None:
    """Make a folder with the plugin NAME: the distribution mlsrv-NAME, ready to install, test and build.

    KIND is what it offers.
    """
    distribution = distribution_of(name)
    # No index has the kit of tests; what is installed already need not be named.
    kit = "" if find_spec("mlsrv_testing") else " CLONE/plugins-contrib/mlsrv-testing  # CLONE: that of mlsrv"
    steps = [
        f"uv pip install -e . pytest{kit}",
        "pytest",
        f"mlsrv plugins check {distribution.removeprefix('mlsrv-')}",
    ]
    _write(path or Path(distribution), plugin_files(kind, name), steps)


def _write(folder: Path, contents: dict[str, str], steps: Sequence[str]) -> None:
    write_folder(folder, contents, lambda name: click.echo(f"  {folder / name}"))
    click.echo(f"\nMade {folder}. Next:\n")
    for step in (f"cd {folder}", *steps):
        click.echo(f"  {step}")
