"""Command ``mlsrv models``: lists, loads and unloads the models of a running server."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click

from mlsrv_cli.connection import TIMEOUT, Connection, connection_options
from mlsrv_cli.tables import print_table

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def models() -> None:
    """Look at the models of a running server, load and unload them."""


@models.command("list")
@connection_options
@TIMEOUT
@AS_JSON
@click.option("--ready", is_flag=True, help="Only those that answer requests now.")
def list_models(connection: Connection, timeout: float, as_json: bool, ready: bool) -> None:
    """List every version of every model, with its state and, if it is not ready, the reason."""
    with connection.client(timeout) as client:
        found = [item.dict() for item in client.index(only_ready=ready)]
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        keys = ("name", "version", "state", "reason")
        print_table(keys, [tuple(str(item.get(key) or "") for key in keys) for item in found])
    else:
        print("The server has no models.")


@models.command()
@click.argument("name")
@connection_options
@TIMEOUT
def load(name: str, connection: Connection, timeout: float) -> None:
    """Load (or reload) a model; returns when it answers requests."""
    with connection.client(timeout) as client:
        client.load(name)
    print(f"Model {name} is loaded.")


@models.command()
@click.argument("name")
@connection_options
@TIMEOUT
def unload(name: str, connection: Connection, timeout: float) -> None:
    """Unload a model; requests in flight finish first."""
    with connection.client(timeout) as client:
        client.unload(name)
    print(f"Model {name} is unloaded.")


@models.command()
@click.argument("name")
@click.option("--version", help="A version of the model; the default one without it.")
@connection_options
@TIMEOUT
@AS_JSON
def describe(name: str, version: str | None, connection: Connection, timeout: float, as_json: bool) -> None:
    """Show a model's metadata: platform, versions, inputs, outputs, and what it has done so far."""
    with connection.client(timeout) as client:
        metadata = client.model_metadata(name, version).dict()
        done = client.statistics(name, version)
    if as_json:
        print(json.dumps({**metadata, "statistics": done}, indent=2))
        return
    print(f"{metadata['name']}  platform: {metadata.get('platform') or '-'}")
    versions = metadata.get("versions")
    if versions:
        print(f"versions: {', '.join(versions)}")
    verification = (metadata.get("parameters") or {}).get("verification")
    if verification:
        print(f"verification: {verification}")
    rows = [_tensor_row(kind, tensor) for kind in ("inputs", "outputs") for tensor in metadata.get(kind, [])]
    if rows:
        print_table(("", "name", "datatype", "shape"), rows)
    else:
        print("It declares no inputs or outputs.")
    for one in done:
        success, fail = one["inference_stats"]["success"], one["inference_stats"]["fail"]
        mean = int(success["ns"]) / max(1, int(success["count"])) / 1e6
        label = f"version {one['version']}: " if one.get("version") else ""
        print(f"{label}{success['count']} requests answered ({mean:.2f} ms each), {fail['count']} failed")


def _tensor_row(kind: str, tensor: dict[str, Any]) -> tuple[str, str, str, str]:
    return kind[:-1], tensor["name"], tensor["datatype"], str(tensor["shape"])
