"""The transports of a kernel while it serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from mlsrv.errors import ConfigurationError, ModelsFailed
from mlsrv.plugins.factory import make_offered
from mlsrv.plugins.offers import TransportOffer
from mlsrv.settings import KernelSettings
from mlsrv.transport import Transport

if TYPE_CHECKING:
    from mlsrv.controlplane.model_control import ModelControl
    from mlsrv.kernel.kernel import Kernel

logger = logging.getLogger("mlsrv.kernel")

STOP_MARGIN = 5.0
"""Seconds beyond the grace period after which a transport that does not stop is left behind."""


class Serving:
    """Starts the transports when it is entered, and stops them gracefully when it is left.

    Raises:
        ConfigurationError: there is no transport, or one cannot start; those that did are stopped.
    """

    def __init__(self, kernel: Kernel, offers: Sequence[TransportOffer]) -> None:
        self._kernel = kernel
        self._offers = offers
        self._settings = kernel.settings.of(KernelSettings)

    async def __aenter__(self) -> Serving:
        made: dict[str, Transport] = {
            offer.name: make_offered(offer, self._kernel, Transport) for offer in self._offers
        }
        if not any(transport.takes_requests for transport in made.values()):
            raise ConfigurationError(
                "No transport is installed and enabled; install one (pip install mlsrv-rest)."
            )
        try:
            for name, transport in made.items():
                self._kernel.transports[name] = transport
                await transport.start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._kernel.stopping = True
        await self._stop()

    async def until(self, stop: Callable[[], Awaitable[object]], control: ModelControl) -> None:
        """Wait until ``await stop()`` returns.

        Raises:
            ModelsFailed: a model failed to load at the start and ``on_load_failure`` is "exit".
        """
        waiting = asyncio.ensure_future(stop())
        try:
            if self._settings.on_load_failure == "exit":
                if control.loading is not None:
                    await asyncio.wait({waiting, control.loading}, return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done() and (failures := control.failures()):
                    raise ModelsFailed(failures)
            await waiting
        finally:
            waiting.cancel()

    async def _stop(self) -> None:
        grace = self._settings.shutdown_timeout
        transports = dict(self._kernel.transports)
        self._kernel.transports.clear()
        if not transports:
            return
        # Begun before the transports, and so done waiting before they cut what is left.
        reporting = asyncio.create_task(self._report_cut(grace))
        tasks = {asyncio.create_task(transport.stop(grace)): name for name, transport in transports.items()}
        done, hung = await asyncio.wait(tasks, timeout=grace + STOP_MARGIN)
        reporting.cancel()
        for task in done:
            if not task.cancelled() and task.exception() is not None:
                logger.error("The transport %s failed to stop", tasks[task], exc_info=task.exception())
        for task in hung:
            logger.error("The transport %s does not stop and is left behind", tasks[task])
            task.cancel()

    async def _report_cut(self, grace: float) -> None:
        await asyncio.sleep(grace)
        running = [
            f"{handle.instance.in_flight} of model {handle.label}"
            for handle in self._kernel.registry
            if handle.instance is not None and handle.instance.in_flight
        ]
        if running:
            logger.warning("Requests that did not finish within %g s are cut: %s", grace, ", ".join(running))
