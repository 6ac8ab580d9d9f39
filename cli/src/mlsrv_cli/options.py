"""Options: those that several commands share, and one for each setting of the kernel and of the plugins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
import rich_click as click

from mlsrv.errors import ConfigurationError
from mlsrv.plugins import Plugins, load_plugin_file
from mlsrv.plugins.offers import RepositoryOffer, SettingsOffer
from mlsrv.settings import KernelSettings, Owner, Settings, help_of
from mlsrv.settings.model_environment import model_fields
from mlsrv.settings.server import KERNEL_DISTRIBUTION
from mlsrv_cli import hookspecs
from mlsrv_cli.foreign import merged
from mlsrv_cli.sources import MODELS_DIR, assignments, read_settings
from mlsrv_cli.targets import Target, target_of
from mlsrv_settings_kit.fields import default_of
from mlsrv_settings_kit.foreign import ForeignEnvironment
from mlsrv_settings_kit.hints import explain_unknown
from mlsrv_settings_kit.known_plugins import owner_of

_F = TypeVar("_F", bound=Callable[..., Any])

# `--log-format` sets it, with a nicer name.
_WITHOUT_OPTION = {"use_structured_logging"}
_LOADED = "mlsrv_cli.loaded"
_OPTIONS = "mlsrv_cli.options"
_GIVEN = "mlsrv_cli.given"
_ARGUMENTS = "mlsrv_cli.arguments"


@attrs.frozen
class LoadedPlugins:
    """The plugins of this run.

    Attributes:
        plugins: all of them.
        files: those that ``--plugin`` names, as modules.
        block: the names that ``--block`` names.
    """

    plugins: Plugins
    files: Sequence[object]
    block: Sequence[str]

    def owners(self, scope: str) -> list[Owner]:
        """Return the settings classes of plugins for ``"server"`` or ``"model"``."""
        offers = self.plugins.attributed(SettingsOffer)
        return [Owner(distribution, offer.cls) for distribution, offer in offers if offer.scope == scope]

    def model_fields(self) -> set[str]:
        """Return the fields of models that the environment may have (``MLSRV_MODEL_…``)."""
        read = [name for offer in self.plugins.offers(SettingsOffer) for name in offer.parameters]
        return model_fields(self.owners("model"), read)

    def foreign(self, environ: Mapping[str, str]) -> list[ForeignEnvironment]:
        """Return the meanings that plugins give to variables of other servers.

        Raises:
            PluginError: one of them failed to say.
        """
        if not hasattr(self.plugins.manager.hook, "mlsrv_cli_environment"):
            self.plugins.manager.add_hookspecs(hookspecs)
        asked = self.plugins.each("mlsrv_cli_environment", environ=environ)
        return [found for _, found in asked if found is not None]

    def failures(self) -> dict[str, str]:
        """Return the distributions whose plugin did not load, with the reason."""
        return self.plugins.failures()


def load_plugins(files: Iterable[str | Path] = (), block: Iterable[str] = ()) -> LoadedPlugins:
    """Load the installed plugins and those in files.

    Raises:
        ConfigurationError: a file cannot be loaded, or two plugins offer the same.
    """
    modules = [load_plugin_file(Path(file)) for file in files]
    block = tuple(block)
    return LoadedPlugins(Plugins(modules, block=block), modules, block)


def plugin_options(function: _F) -> _F:
    """Add ``--plugin`` and ``--block`` to a command."""
    function = click.option(
        "--block", "block", multiple=True, metavar="NAME", help="Leave a plugin out. May be repeated."
    )(function)
    return click.option(
        "--plugin",
        "plugin_files",
        multiple=True,
        type=click.Path(dir_okay=False),
        help="Also load a plugin from a Python file. May be repeated.",
    )(function)


def settings_options(function: _F) -> _F:
    """Add the options of a command that reads a folder's settings, except those of `SettingsCommand`."""
    function = click.option(
        "--set",
        "set_",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set any server setting; lists and objects as JSON. May be repeated.",
    )(function)
    function = plugin_options(function)
    return click.argument("target", cls=PathArgument, metavar="PATH", type=TargetPath())(function)


class PathArgument(click.Argument):
    """The argument PATH; without it, the variable `MODELS_DIR` has it."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        loaded: LoadedPlugins | None = ctx.meta.get(_LOADED)
        if loaded is None:  # shell completion
            return None
        return merged(os.environ, loaded.foreign(os.environ)).get(MODELS_DIR) or None


class TargetPath(click.Path):
    """The type of PATH; a target becomes a `Target`."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return target_of(Path(os.fsdecode(super().convert(value, param, ctx))))


class SettingsCommand(click.RichCommand):
    """A command with an option for each server setting of the loaded plugins.

    The options are made from the settings classes when the command is run, so a plugin has options exactly
    when it is installed. `command_settings` returns the values that they were given.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        for param in self.params:
            if isinstance(param, click.RichOption):
                param.panel = "General"
        self.context_settings["rich_help_config"] = {
            "options_table_column_types": ["opt_all_metavar", "help"],
            "append_metavars_help_string": "{}",
            "text_paragraph_linebreaks": "\n\n",
        }

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            loaded = load_plugins(_values_of(args, "--plugin"), _values_of(args, "--block"))
        except ConfigurationError:
            if ctx.resilient_parsing:  # shell completion needs names only, no reasons
                return super().parse_args(ctx, args)
            raise
        own = {flag for param in self.params for flag in param.opts}
        ctx.meta[_LOADED] = loaded
        ctx.meta[_OPTIONS] = [option for option in _setting_options(loaded) if option.opts[0] not in own]
        ctx.meta[_GIVEN] = {}
        ctx.meta[_ARGUMENTS] = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            key = error.option_name.lstrip("-").replace("-", "_")
            if owner_of("settings", key) is None:
                raise
            rows = loaded.plugins.rows
            present = [row.distribution for row in rows if row.error is None and not row.blocked]
            explained = explain_unknown(key, (), present, loaded.failures())
            raise click.UsageError(f"No such option {error.option_name}: {explained}", ctx) from error

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *ctx.meta.get(_OPTIONS, ())]


def loaded_plugins(ctx: click.Context) -> LoadedPlugins:
    """Return the plugins that a `SettingsCommand` has loaded."""
    found: LoadedPlugins = ctx.meta[_LOADED]
    return found


def arguments_of(ctx: click.Context) -> list[str]:
    """Return what a `SettingsCommand` was given, word by word."""
    found: list[str] = ctx.meta[_ARGUMENTS]
    return found


def command_settings(
    ctx: click.Context, target: Target, set_: Sequence[str], environ: Mapping[str, str], **own: str | None
) -> Settings:
    """Return the settings of a folder or file with the values that a `SettingsCommand` was given.

    Args:
        ctx: the context of the command.
        target: its argument PATH.
        set_: its options ``--set``.
        environ: the environment.
        own: settings that options of the command itself give, as texts; None is not given.

    Raises:
        ConfigurationError: as `read_settings`; or a setting was given twice.
    """
    given: dict[str, str] = ctx.meta[_GIVEN] | {key: value for key, value in own.items() if value is not None}
    names = {key: _flag(key) for key in given}
    assigned = assignments(set_)
    twice = sorted(given.keys() & assigned.keys())
    if twice:
        raise ConfigurationError([f"{key} is given twice, by --set and by its own option" for key in twice])
    names |= {key: f"--set {key}" for key in assigned}
    repositories = loaded_plugins(ctx).plugins.offers(RepositoryOffer)
    found = loaded_plugins(ctx).foreign(environ)
    defaults = {key: value for other in found for key, value in other.defaults.items()}
    return read_settings(target, repositories, merged(environ, found), given | assigned, names, defaults)


def _values_of(args: Sequence[str], option: str) -> Iterator[str]:
    """Yield the values of a repeatable option before the other options are known."""
    waiting = iter(args)
    for arg in waiting:
        if arg == "--":
            return
        name, sign, value = arg.partition("=")
        if name == option:
            found = value if sign else next(waiting, None)
            if found is not None:
                yield found


def _setting_options(loaded: LoadedPlugins) -> Iterator[click.Option]:
    for owner in (Owner(KERNEL_DISTRIBUTION, KernelSettings), *loaded.owners("server")):
        for attribute in attrs.fields(owner.cls):
            kinds = _kinds(attribute.type)
            if attribute.name not in _WITHOUT_OPTION and kinds:
                yield _setting_option(attribute, kinds, f"Settings of {owner.distribution}")


def _setting_option(attribute: attrs.Attribute[Any], kinds: Sequence[str], panel: str) -> click.Option:
    flag, key = _flag(attribute.name), attribute.name

    def keep(ctx: click.Context, _param: click.Parameter, value: object) -> None:
        if value is not None:
            ctx.meta[_GIVEN][key] = str(value).lower() if isinstance(value, bool) else str(value)

    common: dict[str, Any] = {
        "help": help_of(attribute) + _default_note(default_of(attribute)),
        "expose_value": False,
        "default": None,
        "callback": keep,
        "panel": panel,
    }
    if kinds == ["true|false"]:
        return click.RichOption([f"{flag}/--no-{flag[2:]}", f"setting_{key}"], **common)
    return click.RichOption([flag, f"setting_{key}"], metavar="|".join(kinds), **common)


def _kinds(annotation: Any) -> list[str]:
    """Return the forms in which a setting may be written as an option, without lists and objects, which only
    ``--set`` and the file can give."""
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if get_origin(annotation) in (Union, UnionType):
        return [kind for member in get_args(annotation) for kind in _kinds(member)]
    named = {bool: "true|false", int: "INTEGER", float: "NUMBER", str: "TEXT"}.get(annotation)
    return [] if named is None else [named]


def _default_note(default: object) -> str:
    if default in (None, False, ""):
        return ""
    return f" [default: {'on' if default is True else default}]"


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")
