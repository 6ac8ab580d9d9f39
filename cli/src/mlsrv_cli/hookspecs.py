"""Hook specifications of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlsrv import hookspec

if TYPE_CHECKING:
    from mlsrv_cli.commands import CommandTable
    from mlsrv_settings_kit.foreign import ForeignEnvironment


@hookspec
def mlsrv_cli_commands(group: CommandTable) -> None:
    """Add commands to ``mlsrv``.

    Called once for each run of the command line, in its process, before the arguments are read; never by a
    kernel. It is looked for in the module that the plugin's entry point names, and that module is imported
    only if the name of this hook is written there. Kernels without the command line do not know it: mark an
    implementation ``@mlsrv.hookimpl(optionalhook=True)``.

    Args:
        group: call its ``add(name, target, help=...)``. The target is a string,
            ``"package.module:attribute"`` of a click command, which is imported only when the command is run:
            the overview must come up at once.

    Returns:
        Nothing.

    Example:
        >>> import mlsrv
        >>> class Plugin:
        ...     @mlsrv.hookimpl
        ...     def mlsrv_cli_commands(self, group):
        ...         group.add("greet", "acme_greetings.commands:greet", help="Say hello.")
        >>> from mlsrv_cli import CommandTable
        >>> table = CommandTable()
        >>> Plugin().mlsrv_cli_commands(table)
        >>> [command.name for command in table]
        ['greet']
    """


@hookspec
def mlsrv_cli_environment(environ: Mapping[str, str]) -> ForeignEnvironment | None:
    """Read variables that were written for another server.

    Called once for each command that reads the settings of a folder, in its process, before they are read.
    Kernels without the command line do not know it: mark an implementation
    ``@mlsrv.hookimpl(optionalhook=True)``.

    Args:
        environ: the environment.

    Returns:
        What the variables mean here. None means that there are none.

    Example:
        >>> import mlsrv
        >>> from mlsrv_settings_kit.foreign import ForeignEnvironment
        >>> class Plugin:
        ...     @mlsrv.hookimpl(optionalhook=True)
        ...     def mlsrv_cli_environment(self, environ):
        ...         if "ACME_PORT" in environ:
        ...             return ForeignEnvironment({"MLSRV_HTTP_PORT": environ["ACME_PORT"]}, {"ACME_PORT"})
        >>> found = Plugin().mlsrv_cli_environment({"ACME_PORT": "8000"})
        >>> found.variables["MLSRV_HTTP_PORT"]
        '8000'
    """
