"""Renews what repeats the folders and the sources: python tests/support/renew.py

These are the lists of plugins in the root's pyproject.toml, the table of who owns which setting in
mlsrv/settings/hints.py, and the list of public names. The tests of `boundaries` compare them.
"""

import ast
import importlib
import re
from collections.abc import Iterable
from pathlib import Path

import attrs

from workspace import ROOT, Room, make_importable, members, plugins, rooms

PROJECT = ROOT / "pyproject.toml"
HINTS = ROOT / "core/src/mlsrv/settings/hints.py"
PUBLIC_NAMES = ROOT / "tests/boundaries/public_names.txt"


def with_lists(text: str) -> str:
    """The root's pyproject.toml with its extras and sources as the folders demand."""
    extras = sorted(room.folder.name for room in plugins() if room in members())
    tables = {
        "project.optional-dependencies": [
            *(f'{name} = ["mlsrv-{name}"]' for name in extras),
            "all = [",
            *(f'    "mlsrv-{name}",' for name in extras),
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
    found: list[type] = []
    for target in room.entry_points.values():
        hook = getattr(importlib.import_module(target), "mlsrv_settings", None)
        offers = hook() if hook is not None else ()
        found += [offer.cls for offer in (offers if isinstance(offers, Iterable) else [offers])]
    return found


def with_owners(text: str) -> str:
    """The module of hints with the settings that each plugin owns. Plugins that are not here keep theirs."""
    for room in plugins():
        names = sorted({field.name for cls in settings_classes(room) for field in attrs.fields(cls)})
        lines = [f'    "{room.distribution}": (', *(f'        "{name}",' for name in names), "    ),"]
        entry = "\n".join(lines) + "\n" if names else ""
        old = re.compile(rf'^    "{room.distribution}": \([^)]*\),\n', re.MULTILINE)
        if old.search(text):
            text = old.sub(entry, text)
        else:
            text = re.sub(
                r"(^OWNERS: .*?)(^}\n)", rf"\g<1>{entry}\g<2>", text, flags=re.MULTILINE | re.DOTALL
            )
    return text


def has_all(path: Path) -> bool:
    """Whether a module has an `__all__`, found without importing it: its framework may not be installed."""
    targets = [
        target
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def public_names() -> list[str]:
    """``module:name`` for each name that a public module of a light room lists in `__all__`."""
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
    ]


if __name__ == "__main__":
    make_importable()
    PROJECT.write_text(with_lists(PROJECT.read_text(encoding="utf-8")), encoding="utf-8")
    HINTS.write_text(with_owners(HINTS.read_text(encoding="utf-8")), encoding="utf-8")
    PUBLIC_NAMES.write_text("\n".join(public_names()) + "\n", encoding="utf-8")
