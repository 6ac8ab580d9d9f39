"""Plugin of the command line: adds the hook with which other plugins add commands (`mlsrv_cli.hookspecs`)."""

import pluggy

import mlsrv


@mlsrv.hookimpl
def mlsrv_addhooks(pluginmanager: pluggy.PluginManager) -> None:
    """Add the hook of the command line."""
    from mlsrv_cli import hookspecs

    pluginmanager.add_hookspecs(hookspecs)
