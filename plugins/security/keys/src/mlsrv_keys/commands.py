"""Command ``mlsrv keys``: makes, lists, revokes and rotates API keys in a file."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from mlsrv.authorization import ACTIONS, Limits
from mlsrv_keys.key_file import Key, changing, format_time, parse_time, read_keys
from mlsrv_keys.rights import Rights, parse_rights

_UNITS = {"m": 60, "h": 3600, "d": 86400}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")


def _file_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--file",
        "-f",
        "path",
        default="keys.json",
        show_default=True,
        envvar="MLSRV_KEYS_FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The file of keys, which settings.json names as keys_file.",
    )(function)


@click.group()
def keys() -> None:
    """Make, list, revoke and rotate the API keys of a server. A running server takes changes at once."""


@keys.command()
@click.argument("name")
@click.option(
    "--right",
    "-r",
    "rights",
    multiple=True,
    required=True,
    metavar="ACTION[=MODEL]",
    help=f"A right, for one model or for those that a pattern matches (infer=iris-*); for all of them "
    f"without. May be repeated. Actions: {', '.join(ACTIONS)}.",
)
@click.option("--expires", metavar="TIME", help='End of the key: "90d", "12h", or "2030-12-31".')
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Requests per second, on average.")
@click.option("--burst", type=click.FloatRange(1), help="Requests that may come at once.")
@click.option("--in-flight", type=click.IntRange(1), help="Requests that may wait or run at once.")
@click.option("--in-flight-bytes", type=click.IntRange(1), help="Bytes of data that these may have.")
@click.option("--priority", type=click.IntRange(1), help="The highest priority that its requests get.")
@_file_option
def add(
    name: str, rights: tuple[str, ...], expires: str | None, path: Path, priority: int | None, **limits: Any
) -> None:
    """Make a key for NAME, and print it: it is shown this once, and kept nowhere."""
    if not _NAME.fullmatch(name):
        raise click.UsageError("NAME: expected letters, digits and any of ._@-, 100 at most.")
    end = None if expires is None else _end(expires)
    made, text = Key.make(name, _rights(rights), end, Limits(**limits, priority=priority or 0))
    with changing(path) as known:
        if any(key.name == name for key in known.values()):
            raise click.UsageError(f"{name} has a key already; rotate or revoke it.")
        known[made.id] = made
    print(text)


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_file_option
def list_keys(path: Path, as_json: bool) -> None:
    """List the keys: names, rights, ends and limits, no secrets."""
    rows = [_row(key) for key in read_keys(path).values()]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        rights = " ".join(f"{action}={','.join(models)}" for action, models in row["rights"].items())
        end = f" until {row['expires']}" if row["expires"] and row["state"] == "valid" else ""
        limits = "".join(f"  {name} {value:g}" for name, value in row["limits"].items())
        print(f"{row['name']}  {row['id']}  {row['state']}{end}  {rights}{limits}")


@keys.command()
@click.argument("name")
@_file_option
def revoke(name: str, path: Path) -> None:
    """Remove every key of NAME."""
    with changing(path) as known:
        for key in _of(name, known):
            del known[key.id]
    print(f"{name} has no key any more.")


@keys.command()
@click.argument("name")
@click.option(
    "--keep", metavar="TIME", help='How long the old key stays valid, such as "1h"; not at all without.'
)
@_file_option
def rotate(name: str, path: Path, keep: str | None) -> None:
    """Make a new key for NAME with the same rights, and print it."""
    end = None if keep is None else _end(keep)
    with changing(path) as known:
        old = _of(name, known)
        latest = old[-1]
        made, text = Key.make(name, latest.rights, latest.expires, latest.limits)
        for key in old:
            if end is None:
                del known[key.id]
            else:
                known[key.id] = key.until(end)
        known[made.id] = made
    print(text)


def _of(name: str, known: dict[str, Key]) -> list[Key]:
    found = [key for key in known.values() if key.name == name]
    if not found:
        raise click.UsageError(f"{name} has no key in this file.")
    return found


def _rights(texts: tuple[str, ...]) -> Rights:
    plain: dict[str, list[str]] = {}
    for text in texts:
        action, equals, model = text.partition("=")
        plain.setdefault(action, []).append(model if equals else "*")
    try:
        return parse_rights(plain, "--right")
    except ValueError as error:
        raise click.UsageError(f"{error}.") from None


def _end(text: str) -> float:
    found = re.fullmatch(r"(\d{1,6})([mhd])", text)
    if found is not None:
        return time.time() + int(found[1]) * _UNITS[found[2]]
    try:
        return parse_time(text, "TIME")
    except ValueError:
        raise click.UsageError(f'{text!r} is no time; write "90d", "12h", "30m" or "2030-12-31".') from None


def _row(key: Key) -> dict[str, Any]:
    ended = key.expires is not None and key.expires <= time.time()
    limits = {name: getattr(key.limits, name) for name in Limits.__annotations__}
    return {
        "name": key.name,
        "id": key.id,
        "state": "expired" if ended else "valid",
        "expires": None if key.expires is None else format_time(key.expires),
        "rights": {action: list(models) for action, models in key.rights.items()},
        "limits": {name: value for name, value in limits.items() if value},
    }
