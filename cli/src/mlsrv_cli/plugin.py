"""Plugin of the command line: its settings, and the hook with which other plugins add commands
(`mlsrv_cli.hookspecs`)."""

import pluggy

import mlsrv
from mlsrv_cli.settings import ProcessSettings


@mlsrv.hookimpl
def mlsrv_settings() -> mlsrv.SettingsOffer:
    """Offer the settings of the command line."""
    return mlsrv.SettingsOffer("server", ProcessSettings)


@mlsrv.hookimpl
def mlsrv_addhooks(pluginmanager: pluggy.PluginManager) -> None:
    """Add the hook of the command line."""
    from mlsrv_cli import hookspecs

    pluginmanager.add_hookspecs(hookspecs)
