"""Command ``mlsrv start``: serves the models of a folder until a signal asks it to stop."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from mlsrv.settings import KernelSettings, Settings
from mlsrv.telemetry.error_details import is_loopback
from mlsrv_cli.failures import report
from mlsrv_cli.foreign import merged, unread_variables
from mlsrv_cli.log_queue import LogQueue
from mlsrv_cli.logs import LEVELS, configure
from mlsrv_cli.options import (
    LoadedPlugins,
    SettingsCommand,
    arguments_of,
    command_settings,
    loaded_plugins,
    settings_options,
)
from mlsrv_cli.settings import ProcessSettings
from mlsrv_cli.signals import STOP_MARGIN, StopSignals, end
from mlsrv_cli.sources import make_importable
from mlsrv_cli.targets import Target
from mlsrv_settings_kit.known_plugins import known_names

logger = logging.getLogger("mlsrv.cli")

RELOAD_SECONDS = 0.5
"""Seconds between looks at the files, with --reload."""

AS_ROOT = (
    "This server runs as root, and other machines reach it: whatever the code of a model does, it does as "
    "root. Start it as a user of its own, or set insecure to true"
)

FLUSH_SECONDS = 2.0
"""Seconds that the reader of the output gets at the end to take what waits for it."""


@click.command(cls=SettingsCommand)
@settings_options
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), help="Log text (the default) or JSON lines."
)
@click.option("--log-level", type=click.Choice(LEVELS, case_sensitive=False), help="Log from this level on.")
@click.option(
    "--reload", is_flag=True, help="Load models again when their code or files change (for development)."
)
@click.option("--member", hidden=True)
@click.pass_context
def start(
    ctx: click.Context,
    target: Target,
    plugin_files: Sequence[str],
    block: Sequence[str],
    set_: Sequence[str],
    log_format: str | None,
    log_level: str | None,
    reload: bool,
    member: str | None,
) -> None:
    """Serve the models of PATH: a folder of models, one artifact (model.joblib, model.onnx, a folder of
    MLflow, …), a folder of artifacts, or Python code (models.py, or models.py:NAME for one of its models).

    Settings come from the command line, from the environment (MLSRV_HTTP_PORT for http_port), from
    settings.json in the folder, or are the defaults: the first of these that has a value counts.
    """
    stop = StopSignals()
    stop.install()
    loaded = loaded_plugins(ctx)
    structured = None if log_format is None else str(log_format == "json")
    own_values: dict[str, str | None] = {"use_structured_logging": structured}
    if reload:
        own_values |= {"model_repository_poll": str(RELOAD_SECONDS), "on_load_failure": "serve"}
    settings = command_settings(ctx, target, set_, os.environ, **own_values)
    resolved = settings.resolve(loaded.owners("server"), loaded.failures())
    own = resolved.of(KernelSettings)
    stop.budget = own.shutdown_delay + own.shutdown_timeout + STOP_MARGIN
    log = configure(own, level=log_level)
    try:
        processes = _processes(resolved)
        if processes > 1 and member is None:
            code = _supervise(arguments_of(ctx), processes, resolved, stop, log)
        else:
            code = _serve(target.folder, settings, resolved, loaded, stop, log, member)
    except Exception as error:
        code = report(error, debug=own.debug)
    if not log.close(FLUSH_SECONDS):
        # The reader of the output has stalled; the interpreter would wait for it at its end.
        end(code, wait=0.0)
    ctx.exit(code)


def _processes(resolved: Settings) -> int:
    """Return how many processes serve: one where the plugin of the command line is blocked."""
    try:
        return resolved.of(ProcessSettings).processes
    except KeyError:
        return 1


def _supervise(
    arguments: Sequence[str], count: int, resolved: Settings, stop: StopSignals, log: LogQueue
) -> int:
    from mlsrv_cli.console import make_reporter
    from mlsrv_cli.processes.supervisor import serve

    code = serve(arguments, count, stop, log)
    if not code:
        own = resolved.of(KernelSettings)
        make_reporter(sys.stdout, structured=own.use_structured_logging).stopped()
    return code


def _serve(
    folder: Path,
    settings: Settings,
    resolved: Settings,
    loaded: LoadedPlugins,
    stop: StopSignals,
    log: LogQueue,
    as_member: str | None,
) -> int:
    known = {setting.name for setting in resolved} | {f"model_{name}" for name in loaded.model_fields()}
    known |= set(known_names("settings"))  # the plugins that have them are named where one is missing
    warning = unread_variables(merged(os.environ, loaded.foreign(os.environ)), known)
    if warning is not None:
        logger.warning("%s", warning)
    own = resolved.of(KernelSettings)
    if hasattr(os, "geteuid") and os.geteuid() == 0 and not own.insecure and not is_loopback(own.host):
        logger.warning(AS_ROOT)
    make_importable(folder)

    # The kernel is imported last, so that a mistake in the settings is reported without that delay.
    from mlsrv import Kernel
    from mlsrv_cli.console import make_reporter
    from mlsrv_cli.serving import run

    reporter = make_reporter(sys.stdout, structured=own.use_structured_logging)
    if as_member is not None:
        from mlsrv_cli.processes.member import Member, MemberKernel

        member = Member.of(as_member, stop)
        return run(
            lambda: MemberKernel(member, settings, plugins=loaded.files, block=loaded.block),
            member.reporter(reporter),
            stop,
            log,
            debug=own.debug,
            member=member,
        )
    return run(
        lambda: Kernel(settings, plugins=loaded.files, block=loaded.block),
        reporter,
        stop,
        log,
        debug=own.debug,
    )
