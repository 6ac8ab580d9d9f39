"""Utils: helpers for authors of runtimes."""

from __future__ import annotations

import fnmatch
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import unquote, urlsplit

from mlsrv.errors import InvalidModelURI
from mlsrv.settings import ModelSettings
from mlsrv_settings_kit.uris import has_scheme

_T = TypeVar("_T")


def model_uri(settings: ModelSettings, wellknown_filenames: Sequence[str] = ()) -> str:
    """Return where the model's artifact is.

    Args:
        settings: the model's settings.
        wellknown_filenames: names or patterns looked for, in this order, when ``parameters.uri`` is a folder.

    Returns:
        A path of a file or folder; a URI whose scheme is not ``file`` is returned as it is.

    Raises:
        InvalidModelURI: there is no URI, or it is neither a file nor a folder.
    """
    uri = settings.parameters.uri
    if not uri:
        raise InvalidModelURI.of(settings.name, None)
    path = local_path(uri)
    if path is None:
        return uri
    if path.is_file():
        return str(path)
    if not path.is_dir():
        raise InvalidModelURI.of(settings.name, str(path))
    names = sorted(child.name for child in path.iterdir())
    for wanted in wellknown_filenames:
        for name in fnmatch.filter(names, wanted):
            return str(path / name)
    return str(path)


def local_path(uri: str | None) -> Path | None:
    """Return the path of a URI without scheme, or of the scheme ``file``; None for any other."""
    if not uri:
        return None
    if not has_scheme(uri):
        return Path(uri)
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


async def get_model_uri(settings: ModelSettings, wellknown_filenames: Sequence[str] = ()) -> str:
    """Return `model_uri`, awaitable, as authors of async ``load`` methods know it."""
    return model_uri(settings, wellknown_filenames)


class closing(Generic[_T]):
    """Close an asynchronous iterator on leaving, as `contextlib.aclosing` does, if it can be closed at all.

    ::

        async with closing(model.predict_stream(requests)) as responses:
            async for response in responses: ...
    """

    def __init__(self, iterator: AsyncIterator[_T]) -> None:
        self._iterator = iterator

    async def __aenter__(self) -> AsyncIterator[_T]:
        return self._iterator

    async def __aexit__(self, *exc_info: object) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await close()
