"""Hints: the sentence about an unknown key, with the nearest known key or the plugin to install."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from mlsrv_settings_kit.known_plugins import fitting, is_installed, known_names, known_plugins, owner_of


def explain_unknown(
    key: str, known: Iterable[str], distributions: Iterable[str] = (), failed: Mapping[str, str] | None = None
) -> str:
    """Return one sentence about an unknown key: the missing or broken plugin, or the nearest known key.

    Args:
        key: what was written.
        known: the keys that exist.
        distributions: those that are loaded; a loaded one does not own the key, even if it did in other
            versions.
        failed: plugins that are installed and did not load, with the reason.
    """
    owner = owner_of("settings", key)
    if owner is not None and owner not in set(distributions):
        if failed and owner in failed:
            return f'unknown key "{key}": the plugin {owner} is installed but did not load: {failed[owner]}'
        return (
            f'unknown key "{key}": it belongs to the plugin {owner}, '
            f"which is not installed (pip install {owner})"
        )
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.6)
    if near:
        return f'unknown key "{key}"; did you mean "{near[0]}"?'
    if failed:
        listed = ", ".join(f"{name} ({reason})" for name, reason in failed.items())
        return f'unknown key "{key}"; it may belong to a plugin that did not load: {listed}'
    return f'unknown key "{key}"'


def explain_runtime(wanted: str, installed: Mapping[str, str] | None = None) -> str:
    """Return what to install or to write for a missing ``implementation``, as the end of a sentence; "" if
    unknown.

    Names of runtimes are known, and dotted paths into packages of runtimes, MLServer's included.

    Args:
        wanted: what was written.
        installed: the name of a runtime by the distribution that brings it, of those that are installed.
    """
    top = _top(wanted)
    distribution = owner_of("runtimes", wanted) or _owner_of_package(top)
    if distribution is not None and installed and distribution in installed:
        return f' The plugin {distribution} is installed; write "{installed[distribution]}".'
    if distribution is not None:
        return f" The runtime is in the plugin {distribution} (pip install {distribution})."
    return " This runtime of MLServer is not available here." if top.startswith("mlserver_") else ""


def explain_artifact(names: Sequence[str], installed: Collection[str]) -> str:
    """Return what to install for a model with these files, as the end of a sentence; "" if unknown.

    Args:
        names: of files, without folders.
        installed: distributions that are there.
    """
    missing = [
        (distribution, entries.get("artifacts", ()))
        for distribution, entries in known_plugins().items()
        if distribution not in installed
    ]
    found = fitting(names, missing)
    return f" {' or '.join(found)} reads such files (pip install {found[0]})." if found else ""


def explain_codec(kind: Literal["input", "request"], names: Iterable[str]) -> str:
    """Return what to install for a missing codec, as a sentence; "" if no known plugin lacks that has it.

    Args:
        kind: whether it is to be for tensors or for whole requests.
        names: its content type, or the classes that it may be for, the nearest first.
    """
    owners = (owner_of("input_codecs" if kind == "input" else "request_codecs", name) for name in names)
    owner = next(filter(None, owners), None)
    if owner is None or is_installed(owner):
        return ""
    return f" The codec is in the plugin {owner} (pip install {owner})."


def _owner_of_package(package: str) -> str | None:
    aliases = (name for name in known_names("runtimes") if name != _top(name) and _top(name) == package)
    return owner_of("runtimes", next(aliases, ""))


def _top(dotted: str) -> str:
    return dotted.replace(":", ".").partition(".")[0]
