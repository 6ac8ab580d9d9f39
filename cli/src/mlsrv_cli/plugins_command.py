"""Command ``mlsrv plugins``: the installed plugins, their offers, and the reason if one did not load.

The subcommand ``check`` is in `mlsrv_cli.checking`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import rich_click as click

from mlsrv.plugins import PluginRow, Plugins
from mlsrv.plugins.offers import (
    CodecOffer,
    ExecutorOffer,
    MeterOffer,
    Offer,
    RepositoryOffer,
    RuntimeOffer,
    SettingsOffer,
    TransportOffer,
)
from mlsrv_cli.checking.command import check
from mlsrv_cli.options import load_plugins, plugin_options
from mlsrv_cli.tables import print_table

_KINDS: dict[type, str] = {
    CodecOffer: "codec",
    ExecutorOffer: "executor",
    MeterOffer: "meter",
    RepositoryOffer: "repository",
    RuntimeOffer: "runtime",
    TransportOffer: "transport",
}
_OFFERING = {"mlsrv_codecs", "mlsrv_executors", "mlsrv_meters", "mlsrv_repositories", "mlsrv_runtimes"} | {
    "mlsrv_settings",
    "mlsrv_transports",
}


@click.group(invoke_without_command=True)
@plugin_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def plugins(ctx: click.Context, plugin_files: Sequence[str], block: Sequence[str], as_json: bool) -> None:
    """List the plugins: name, distribution, version, what each offers, and why one did not load."""
    if ctx.invoked_subcommand is not None:
        return
    found = load_plugins(plugin_files, block).plugins
    described = [describe(row, found) for row in found.rows]
    if as_json:
        print(json.dumps(described, indent=2))
    elif described:
        headers = ("name", "distribution", "version", "offers")
        print_table(headers, [_cells(row) for row in described])
    else:
        print("No plugins are installed.")


plugins.add_command(check)


def describe(row: PluginRow, found: Plugins) -> dict[str, Any]:
    """Return one plugin as plain data.

    Args:
        row: the plugin.
        found: the plugins that it is one of.
    """
    callers = found.manager.get_hookcallers(found.manager.get_plugin(row.name)) or ()
    return {
        "name": row.name,
        "distribution": row.distribution,
        "version": row.version,
        "offers": [_offered(offer) for offer in row.offers],
        "hooks": sorted({caller.name for caller in callers} - _OFFERING),
        "blocked": row.blocked,
        "error": f"{type(row.error).__name__}: {row.error}" if row.error is not None else None,
    }


def _offered(offer: Offer) -> dict[str, str]:
    if isinstance(offer, SettingsOffer):
        return {"kind": f"{offer.scope} settings", "name": offer.cls.__name__}
    kind = (
        "request codec" if isinstance(offer, CodecOffer) and offer.kind == "request" else _KINDS[type(offer)]
    )
    return {"kind": kind, "name": offer.name}


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    offers = [f"{offer['kind']} {offer['name']}" for offer in row["offers"]]
    offers += [f"hook {hook}" for hook in row["hooks"]]
    status = ", ".join(offers)
    if row["blocked"]:
        status = "blocked"
    if row["error"] is not None:
        status = f"did not load: {row['error']}"
    return row["name"], row["distribution"], row["version"], status
