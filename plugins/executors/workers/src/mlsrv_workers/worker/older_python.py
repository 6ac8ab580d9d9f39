"""Older Python: what the modules of a worker use and the standard library before Python 3.11 does not have.

A model's environment may have Python 3.9 or 3.10; the server needs 3.11 or newer. `complete` adds names that
are missing, and replaces nothing that exists, so that packages of the environment see no other behaviour. For
what exists and can do less there, the server's modules alone get `ATTRIBUTES` and `strict_zip` (see
`adapted_source`). Nothing in this module may need a newer Python than 3.9.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import datetime
import gc
import importlib.machinery
import importlib.metadata
import itertools
import os
import pathlib
import pkgutil
import re
import sys
import traceback
import types
import typing
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from functools import lru_cache, partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

import typing_extensions

_TYPING = (
    "Concatenate",
    "ParamSpec",
    "Self",
    "TypeAlias",
    "TypeGuard",
    "dataclass_transform",
    "is_typeddict",
)


class CountingTask(asyncio.Task):
    """A task that knows how many requests to cancel it are not yet taken back, as tasks do from 3.11 on."""

    _requests = 0

    def cancel(self, msg: Any = None) -> bool:
        accepted = super().cancel(msg)
        self._requests += accepted
        return accepted

    def cancelling(self) -> int:
        return self._requests

    def uncancel(self) -> int:
        self._requests = max(0, self._requests - 1)
        return self._requests


class Runner:
    """An event loop for one coroutine, whose tasks are of `CountingTask`."""

    def __init__(self, *, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self._loop = (loop_factory or asyncio.new_event_loop)()
        self._loop.set_task_factory(lambda loop, coroutine: CountingTask(coroutine, loop=loop))

    def __enter__(self) -> Runner:
        asyncio.set_event_loop(self._loop)
        return self

    def __exit__(self, *exc_info: object) -> None:
        asyncio.set_event_loop(None)
        self._loop.close()

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine and return its result."""
        return self._loop.run_until_complete(coroutine)


@contextlib.asynccontextmanager
async def aclosing(thing: Any) -> AsyncIterator[Any]:
    """Close an asynchronous generator at the end, as `contextlib.aclosing` does."""
    try:
        yield thing
    finally:
        await thing.aclose()


def pairwise(values: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Return successive overlapping pairs, as `itertools.pairwise` does."""
    first, second = itertools.tee(values)
    next(second, None)
    return zip(first, second)


_MISSING = object()


def _aiter(iterable: Any) -> Any:
    """Return an asynchronous iterator, as the built-in function does."""
    return type(iterable).__aiter__(iterable)


async def _anext(iterator: Any, default: Any = _MISSING) -> Any:
    """Return the next item of an asynchronous iterator, as the built-in function does."""
    try:
        return await type(iterator).__anext__(iterator)
    except StopAsyncIteration:
        if default is _MISSING:
            raise
        return default


def strict_zip(*iterables: Iterable[Any], strict: bool = False) -> Iterator[tuple[Any, ...]]:
    """Return tuples of items, as the built-in function does from 3.10 on."""
    if not strict:
        yield from zip(*iterables)
        return
    for items in itertools.zip_longest(*iterables, fillvalue=_MISSING):
        if any(item is _MISSING for item in items):
            raise ValueError("zip() arguments have different lengths")
        yield items


@lru_cache(1024)
def _qualified_name(code: CodeType) -> str:
    """Return the qualified name of a function by its code, or its plain name if the function is gone."""
    functions = (each for each in gc.get_referrers(code) if isinstance(each, FunctionType))
    return next((each.__qualname__ for each in functions if each.__code__ is code), code.co_name)


_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?(Z|[+-]\d\d(?::?\d\d)?)?)?"
)


def _from_iso_format(kind: Any, text: str) -> Any:
    """Read a date, also with "Z", without separators, and with any number of decimals of a second."""
    try:
        return kind.fromisoformat(text)
    except ValueError:
        found = _ISO.fullmatch(text)
        if found is None:
            raise
    year, month, day, hour, minute, second, decimals, zone = found.groups()
    written = f"{year}-{month}-{day}"
    if hour is not None:
        written += f"T{hour}:{minute or '00'}:{second or '00'}.{(decimals or '')[:6]:0<6}"
        zone = "+00" if zone == "Z" else (zone or "").replace(":", "")
        written += f"{zone[:3]}:{zone[3:] or '00'}" if zone else ""
    return kind.fromisoformat(written)


def _format_exception(error: BaseException) -> list[str]:
    return traceback.format_exception(type(error), error, error.__traceback__)


def _entry_points(*, group: str) -> Iterator[Any]:
    """Yield the entry points of a group, with their distributions."""
    for found in importlib.metadata.distributions():
        for point in found.entry_points:
            if point.group == group:
                yield types.SimpleNamespace(
                    name=point.name,
                    value=point.value,
                    load=point.load,
                    dist=types.SimpleNamespace(name=found.metadata["Name"], version=found.version),
                )


def either(left: Any, right: Any) -> Any:
    """Return ``left | right``, also for types."""
    try:
        return left | right
    except TypeError:
        return typing.Union[left, right]


def _hook_options(manager: Any) -> Callable[[object, str], Any]:
    """Return a method of pluggy, whose newest version for Python 3.9 fails for names that are missing."""
    return lambda plugin, name: manager.parse_hookimpl_opts(plugin, name) if hasattr(plugin, name) else None


ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "co_qualname": _qualified_name,
    "fromisoformat": lambda kind: partial(_from_iso_format, kind),
}
"""Attributes of objects that other functions read for the server's modules."""

if sys.version_info < (3, 10):
    ATTRIBUTES.update(
        entry_points=lambda _: _entry_points,
        format_exception=lambda _: _format_exception,
        or_=lambda _: either,
        parse_hookimpl_opts=_hook_options,
    )


def complete() -> None:
    """Add what is missing to the modules of the standard library."""
    for name in _TYPING:
        _add(typing, name, getattr(typing_extensions, name))
    _add(asyncio, "Runner", Runner)
    _add(datetime, "UTC", datetime.timezone.utc)
    _add(contextlib, "aclosing", aclosing)
    _add(itertools, "pairwise", pairwise)
    _add(builtins, "aiter", _aiter)
    _add(builtins, "anext", _anext)
    # A hint `X | Y` becomes `Union[X, Y]` there: see `adapted_source`.
    _add(types, "UnionType", type(typing.Union[int, str]))
    _add(types, "NoneType", type(None))
    _add(sys, "stdlib_module_names", _modules_of_python())
    bootstrap = sys.modules["importlib._bootstrap_external"]
    _add(importlib.machinery, "NamespaceLoader", getattr(bootstrap, "_NamespaceLoader", None))
    # Paths that Python 3.13 has pickled name the module in which it defines them.
    sys.modules.setdefault("pathlib._local", pathlib)


def _modules_of_python() -> frozenset[str]:
    folder = os.path.dirname(os.__file__)
    found = pkgutil.iter_modules([folder, os.path.join(folder, "lib-dynload")])
    return frozenset({*sys.builtin_module_names, *(module.name for module in found)})


def _add(module: ModuleType, name: str, value: Any) -> None:
    if not hasattr(module, name):
        setattr(module, name, value)
