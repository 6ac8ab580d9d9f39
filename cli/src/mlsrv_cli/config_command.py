"""Commands ``mlsrv config show`` and ``mlsrv config check``: settings and their sources, without a start."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import rich_click as click

from mlsrv.errors import ConfigurationError
from mlsrv.kernel import Kernel
from mlsrv.settings import Effective, Settings
from mlsrv_cli.inspection import ModelInspection, examine, models_of
from mlsrv_cli.options import SettingsCommand, command_settings, loaded_plugins, settings_options
from mlsrv_cli.sources import make_importable
from mlsrv_cli.tables import print_table
from mlsrv_cli.targets import Target


@click.group()
def config() -> None:
    """Show or check the settings of a folder and of its models, without starting a server."""


@config.command(cls=SettingsCommand)
@settings_options
@click.option("--all", "explained", is_flag=True, help="Print what each setting means, and whose it is, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, meanings included.")
@click.pass_context
def show(
    ctx: click.Context,
    target: Target,
    plugin_files: Sequence[str],
    block: Sequence[str],
    set_: Sequence[str],
    explained: bool,
    as_json: bool,
) -> None:
    """Show every effective value, of the server and of each model in PATH, and where it comes from.
    Secrets are masked.

    Takes the options of "mlsrv start", and shows what they would do there.
    """
    kernel = _kernel(ctx, target, command_settings(ctx, target, set_, os.environ))
    models = models_of(kernel)
    if as_json:
        described = {
            "server": [_described(value) for value in kernel.settings],
            "models": [
                attrs.asdict(model, recurse=False)
                | {"settings": [_described(value) for value in model.settings]}
                for model in models
            ],
        }
        print(json.dumps(described, indent=2, default=str))
        return
    _print_values("Server", kernel.settings, explained)
    for model in models:
        print()
        _print_model(model, explained)


@config.command(cls=SettingsCommand)
@settings_options
@click.pass_context
def check(
    ctx: click.Context, target: Target, plugin_files: Sequence[str], block: Sequence[str], set_: Sequence[str]
) -> None:
    """Check the settings of the server and of each model in PATH: one line for each problem, exit code 2.
    Without any, show what would serve each model. Artifacts are looked for, and not loaded.

    Takes the options of "mlsrv start".
    """
    settings = command_settings(ctx, target, set_, os.environ)
    problems = []
    try:
        kernel = _kernel(ctx, target, settings)
    except ConfigurationError as error:
        problems += error.problems
        # The models can still be checked, with the folder as the only source.
        kernel = _kernel(ctx, target, Settings.from_layers(settings.layers[:1], settings.model_layer))
    found, plans = examine(kernel)
    problems += found
    if problems:
        raise ConfigurationError(problems)
    if plans:
        rows = [
            (plan.name, plan.version or "", plan.runtime, plan.artifact, plan.executor, plan.environment)
            for plan in plans
        ]
        print_table(("model", "version", "runtime", "artifact", "runs in", "environment"), rows)
    print(f"{target.path}: no problems.")


def _kernel(ctx: click.Context, target: Target, settings: Settings) -> Kernel:
    make_importable(target.folder)
    loaded = loaded_plugins(ctx)
    return Kernel(settings, plugins=loaded.files, block=loaded.block)


def _described(value: Effective) -> dict[str, Any]:
    described = attrs.asdict(value, recurse=False) | {"value": value.shown}
    del described["secret"]
    return described


def _print_model(model: ModelInspection, explained: bool) -> None:
    title = f"Model {model.name}" + (f" version {model.version}" if model.version else "")
    if model.problems:
        print(title)
        for problem in model.problems:
            print(f"Error: {problem}")
    else:
        _print_values(title, model.settings, explained)


def _print_values(title: str, values: Iterable[Effective], explained: bool) -> None:
    head = ("setting", "value", "from", *(("plugin", "meaning") if explained else ()))
    rows = [
        (
            value.name,
            json.dumps(value.shown, default=str),
            value.origin,
            *((value.distribution, value.help) if explained else ()),
        )
        for value in values
    ]
    print_table(head, rows, title)
