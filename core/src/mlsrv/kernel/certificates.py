"""Certificates: files of TLS that are read again once they change."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from mlsrv_settings_kit.sections import Effective

LOOK_SECONDS = 5.0
"""Seconds between two looks at the files."""

_NAMES = ("tls_cert", "tls_key", "tls_ca")


@asynccontextmanager
async def watching(
    settings: Iterable[Effective], reload: Callable[[], Awaitable[None]], seconds: float = LOOK_SECONDS
) -> AsyncIterator[None]:
    """Call `reload` each time one of the files of TLS that the settings name has changed.

    Args:
        settings: every setting; those whose names end in ``tls_cert``, ``tls_key``, ``tls_ca`` are files.
        reload: reads them.
        seconds: between two looks.
    """
    paths = [one.value for one in settings if one.name.endswith(_NAMES) and isinstance(one.value, str)]
    task = asyncio.create_task(_watch(paths, reload, seconds), name="mlsrv-certificates") if paths else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait({task})


async def _watch(paths: list[str], reload: Callable[[], Awaitable[None]], seconds: float) -> None:
    before = await asyncio.to_thread(_stamps, paths)
    while True:
        await asyncio.sleep(seconds)
        now = await asyncio.to_thread(_stamps, paths)
        # Files are replaced one after the other: they are read once they have rested.
        if now != before and now == await _later(paths):
            before = now
            await reload()


async def _later(paths: list[str]) -> object:
    await asyncio.sleep(0.2)
    return await asyncio.to_thread(_stamps, paths)


def _stamps(paths: list[str]) -> object:
    found: list[object] = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
    return found
