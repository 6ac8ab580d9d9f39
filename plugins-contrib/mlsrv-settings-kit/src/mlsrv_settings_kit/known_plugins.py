"""Known plugins: the distribution that brings a setting, a codec or a runtime, for use while it is missing.

The data is generated from the plugins that are developed with the kernel; installed ones are asked by hooks.
"""

from __future__ import annotations

import fnmatch
import functools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

DATA = Path(__file__).with_suffix(".json")

Kind: TypeAlias = Literal[
    "settings",
    "parameters",
    "codecs",
    "codec_classes",
    "input_codecs",
    "request_codecs",
    "samples",
    "runtimes",
    "artifacts",
    "repositories",
    "executors",
    "transports",
    "meters",
    "metrics",
    "extensions",
]
"""Entries of a distribution. ``runtimes`` holds names and aliases, ``artifacts``
patterns of file names, ``parameters`` keys of the object of that
name in model settings, ``samples`` a text for each content type that does not take the empty one.
``input_codecs`` (of tensors) and ``request_codecs`` (of whole requests) hold content types, and of plugins
that are for codecs alone, classes as `class_names` has them."""

_T = TypeVar("_T")


@functools.cache
def known_plugins() -> Mapping[str, Mapping[str, Any]]:
    """Return the entries of each distribution, read once."""
    found: dict[str, dict[str, Any]] = json.loads(DATA.read_text(encoding="utf-8"))
    return found


def owner_of(kind: Kind, name: str) -> str | None:
    """Return the distribution that brings something, or None if no known one does."""
    return next((distribution for distribution, names in _all_of(kind) if name in names), None)


def is_installed(distribution: str) -> bool:
    """Return whether a known plugin is there, without importing it."""
    return find_spec(distribution.replace("-", "_")) is not None


def class_names(cls: type) -> list[str]:
    """Return ``"package.Class"`` for a class and each of its bases but `object`.

    Only the first part of the module counts, since libraries move their classes between submodules.
    """
    return [f"{base.__module__.partition('.')[0]}.{base.__qualname__}" for base in cls.__mro__[:-1]]


def fitting(names: Collection[str], readers: Iterable[tuple[_T, Iterable[str]]]) -> list[_T]:
    """Return those that read files of these names: by the very name of one, or else by a pattern.

    Args:
        names: of files, without folders.
        readers: with the names and patterns of file names that each reads.
    """
    offered = [(reader, tuple(patterns)) for reader, patterns in readers]
    return [reader for reader, patterns in offered if set(names) & set(patterns)] or [
        reader for reader, patterns in offered if any(fnmatch.filter(names, one) for one in patterns)
    ]


def guards(setting: str) -> bool:
    """Return whether a setting belongs to a plugin that decides what is let in or loaded."""
    owner = owner_of("settings", setting)
    return owner is not None and bool(known_plugins()[owner].get("security"))


def known_names(kind: Kind) -> tuple[str, ...]:
    """Return all names of a kind."""
    return tuple(name for _, names in _all_of(kind) for name in names)


def known_sample(content_type: str) -> str:
    """Return a text that the codec of a content type decodes; the empty one if it is not known."""
    return next(
        (str(samples[content_type]) for _, samples in _all_of("samples") if content_type in samples), ""
    )


def first_choice(kind: Kind) -> str:
    """Return the distribution to suggest where none of a kind is installed, one of the default set if any."""
    found = {name: known_plugins()[name] for name, _ in _all_of(kind)}
    # A transport that comes with meters serves their numbers, no models. Between equals the name decides.
    return max(found, key=lambda name: (bool(found[name].get("default")), "meters" not in found[name], name))


def _all_of(kind: Kind) -> Iterator[tuple[str, Any]]:
    return ((name, entries[kind]) for name, entries in known_plugins().items() if kind in entries)
