"""Verified files: the copy of a model's folder that a plugin has checked, and the settings that are in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from typing import TypeAlias

from mlsrv.errors import ModelLoadError
from mlsrv.repository import VerifiedFolder
from mlsrv.settings import ModelSettings
from mlsrv.utils import local_path

Check: TypeAlias = "AbstractContextManager[VerifiedFolder | None]"


async def verified_settings(
    stack: AsyncExitStack,
    check: Check | None,
    model: ModelSettings,
    resolve: Callable[[ModelSettings], ModelSettings],
) -> tuple[ModelSettings, str]:
    """Return the settings to load a model with, and what a check of its files found.

    If there was one, the settings are read again from the copy.

    Args:
        stack: keeps the copy until the model is unloaded.
        check: of a plugin, see the hook ``mlsrv_verified_folder``; None if there is none.
        model: the resolved settings.
        resolve: resolves settings.

    Raises:
        ModelLoadError: the check refuses the model, or the copy has another one's settings.
    """
    if check is None:
        return model, ""
    entering = asyncio.ensure_future(asyncio.to_thread(check.__enter__))
    stack.push_async_callback(_leave, check, entering)
    verified = await asyncio.shield(entering)
    if verified is None or model.source is None:
        return model, "" if verified is None else verified.found
    folder = verified.path
    resolved = resolve(await asyncio.to_thread(ModelSettings.parse_file, folder / model.source.name))
    artifact = local_path(resolved.parameters.uri)
    if (resolved.name, resolved.version) != (model.name, model.version):
        raise ModelLoadError(f"Model {model.name}: its settings were changed while it was checked.")
    if artifact is None or not artifact.resolve().is_relative_to(folder.resolve()):
        raise ModelLoadError(f"Model {model.name}: its artifact is outside its folder; use a relative path.")
    return resolved, verified.found


async def _leave(check: Check, entering: asyncio.Future[VerifiedFolder | None]) -> None:
    """Leave a check, also one whose load was cancelled while it was entered."""
    await asyncio.wait({entering})
    if not entering.cancelled() and entering.exception() is None:
        await asyncio.to_thread(check.__exit__, None, None, None)
