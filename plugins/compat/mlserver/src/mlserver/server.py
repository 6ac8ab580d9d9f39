"""Server: a server of models, started from Python code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from mlserver.settings import ModelSettings, Settings

__all__ = ["MLServer"]


class MLServer:
    """Serves models, over REST, gRPC and whatever else is installed.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()

    async def start(self, models_settings: Iterable[ModelSettings] = ()) -> None:
        """Serve the given models until `stop` is called, a signal arrives, or the task is cancelled.

        Raises:
            mlsrv.errors.MLSrvError: a setting or a port is wrong.
        """
        from mlsrv import Kernel
        from mlsrv_mlserver.settings import our_model_settings, our_settings

        models = [our_model_settings(settings) for settings in models_settings]
        self._stop.clear()
        async with Kernel(our_settings(self._settings), models=models) as kernel:
            await kernel.serve(self._stop.wait)

    async def stop(self, sig: int | None = None) -> None:
        """Let `start` return, once the requests in flight are answered."""
        self._stop.set()
