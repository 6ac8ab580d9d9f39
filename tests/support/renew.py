"""Renews what repeats the folders and the sources: python tests/support/renew.py

These are the lists of plugins in the root's pyproject.toml, the data of `mlsrv_settings_kit.known_plugins`,
the guide with all settings, and the list of public names. The tests of `boundaries` compare them.
"""

import ast
import importlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from mlsrv.plugins.offers import SettingsOffer
from mlsrv.settings import KernelModelSettings, KernelSettings, help_of
from mlsrv_settings_kit.fields import default_of
from mlsrv_settings_kit.known_plugins import owner_of
from workspace import ROOT, Room, make_importable, members, plugins, rooms, root_project

PROJECT = ROOT / "pyproject.toml"
KNOWN_PLUGINS = ROOT / "plugins-contrib/mlsrv-settings-kit/src/mlsrv_settings_kit/known_plugins.json"
SETTINGS_PAGE = ROOT / "core/guides/settings.md"
SETTINGS_HEAD = """# All settings

Those of the kernel, of the command line and of every plugin that is developed with it; the plugins'
READMEs explain them. Settings of the server stand in `settings.json`, in the environment
(`MLSRV_HTTP_PORT` for `http_port`) or on the command line (`--http-port`), those of a model in its
`model-settings.json` beside `name`, `implementation`, `parameters`, `inputs` and `outputs`, or in the
environment (`MLSRV_MODEL_…`). A plugin that is not installed has none: its keys are errors that name it.
"""
PUBLIC_NAMES = ROOT / "tests/boundaries/public_names.txt"


def with_lists(text: str) -> str:
    """The root's pyproject.toml with its extras and sources as the folders demand."""
    extras = sorted(room.folder.name for room in plugins() if room in members())
    in_all = {room.folder.name for room in plugins() if room in members() and not room.stands_in}
    tables = {
        "project.optional-dependencies": [
            *(f'{name} = ["mlsrv-{name}"]' for name in extras),
            "all = [",
            *(f'    "mlsrv-{name}",' for name in sorted(in_all)),
            "]",
            'testing = ["mlsrv-testing"]',
        ],
        "tool.uv.sources": [f"{room.distribution} = {{ workspace = true }}" for room in members()],
    }
    for table, lines in tables.items():
        before, heading, after = text.partition(f"[{table}]\n")
        text = before + heading + "\n".join(lines) + after[after.index("\n\n") :]
    return text


def settings_classes(room: Room) -> list[type]:
    """The settings classes that the plugins of a room offer."""
    return [offer.cls for offer in offers_of(room, "mlsrv_settings")]


def offers_of(room: Room, hook: str) -> list[Any]:
    """What the plugins of a room return from a hook without parameters."""
    found: list[Any] = []
    for target in room.entry_points.values():
        function = getattr(importlib.import_module(target), hook, None)
        result = function() if function is not None else ()
        is_several = isinstance(result, Iterable) and not isinstance(result, str)
        found += result if is_several else [result]
    return found


def known_entries(room: Room) -> dict[str, Any]:
    """What a plugin brings, as `mlsrv_settings_kit.known_plugins` has it; without empty entries."""
    codecs = offers_of(room, "mlsrv_codecs")
    settings = offers_of(room, "mlsrv_settings")
    names = ("repositories", "executors", "transports", "meters", "metrics")
    for_all = room.where.startswith("plugins/codecs/")  # those of a runtime are for its own models
    entries: dict[str, Any] = {
        "default": room.distribution in root_project()["project"]["dependencies"],
        "security": room.where.startswith("plugins/security/"),
        "settings": sorted({field.name for offer in settings for field in attrs.fields(offer.cls)}),
        "parameters": sorted({name for offer in settings for name in offer.parameters}),
        "codecs": sorted({offer.name for offer in codecs}),
        "codec_classes": sorted(
            {offer.target.partition(":")[2] for offer in codecs}
            & set(getattr(importlib.import_module(room.package), "__all__", ()))
        ),
        **{
            f"{kind}_codecs": sorted(
                {
                    name
                    for offer in codecs
                    if offer.kind == kind
                    for name in (offer.name, *(offer.payloads if for_all else ()))
                }
            )
            for kind in ("input", "request")
        },
        "samples": {offer.name: offer.sample for offer in codecs if offer.sample},
        "runtimes": [
            name for offer in offers_of(room, "mlsrv_runtimes") for name in (offer.name, *offer.aliases)
        ],
        "artifacts": sorted(
            {name for offer in offers_of(room, "mlsrv_runtimes") for name in offer.artifacts}
        ),
        **{kind: [offer.name for offer in offers_of(room, f"mlsrv_{kind}")] for kind in names},
        "extensions": offers_of(room, "mlsrv_extensions"),
    }
    return {kind: found for kind, found in entries.items() if found}


def known_plugins() -> str:
    """The text of the data file of `mlsrv_settings_kit.known_plugins`."""
    return json.dumps({room.distribution: known_entries(room) for room in plugins()}, indent=1) + "\n"


def settings_page() -> str:
    """The text of the guide with all settings."""
    parts = [SETTINGS_HEAD]
    own = [SettingsOffer("server", KernelSettings), SettingsOffer("model", KernelModelSettings)]
    owners = [("mlsrv-core", own)]
    offering = [room for room in rooms() if room.where == "cli" or room.is_plugin]
    owners += [(room.distribution, offers_of(room, "mlsrv_settings")) for room in offering]
    for scope, heading in (("server", "Settings of the server"), ("model", "Settings of a model")):
        parts.append(f"## {heading}\n")
        for distribution, offers in owners:
            for offer in offers:
                if offer.scope == scope and attrs.fields(offer.cls):
                    parts.append(f"### {heading} of {distribution}\n\n{settings_table(offer.cls)}")
    return "\n".join(parts)


def settings_table(cls: type) -> str:
    """The settings of a class as a table."""
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for field in attrs.fields(cls):
        default = default_of(field)
        shown = "none" if default is None else f"`{json.dumps(default)}`"
        lines.append(f"| `{field.name}` | {shown} | {help_of(field)} |")
    return "\n".join(lines) + "\n"


def has_all(path: Path) -> bool:
    """Whether a module has an `__all__`, found without importing it: its framework may not be installed.

    One that is imported, as facades do, is written ``__all__ as __all__``.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = [
        alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    targets = [
        target
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return "__all__" in (*names, *imported)


def public_names() -> list[str]:
    """List ``module:name`` for each name that a public module of a light room has in its `__all__`.

    `mlsrv.codecs` also lists the codecs of heavy rooms where those are installed; they are left out.
    """
    heavy = {room.distribution for room in rooms() if room.is_heavy}
    modules = [
        module
        for room in rooms()
        if not room.is_heavy
        for module, path in room.modules()
        if has_all(path) and not any(part.startswith("_") for part in module.split("."))
    ]
    return [
        f"{module}:{name}"
        for module in sorted(modules)
        for name in sorted(importlib.import_module(module).__all__)
        if module != "mlsrv.codecs" or owner_of("codec_classes", name) not in heavy
    ]


if __name__ == "__main__":
    make_importable()
    PROJECT.write_text(with_lists(PROJECT.read_text(encoding="utf-8")), encoding="utf-8")
    KNOWN_PLUGINS.write_text(known_plugins(), encoding="utf-8")
    SETTINGS_PAGE.write_text(settings_page(), encoding="utf-8")
    PUBLIC_NAMES.write_text("\n".join(public_names()) + "\n", encoding="utf-8")
