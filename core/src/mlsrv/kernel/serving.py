"""Serving: the transports of a kernel, from their start until they have stopped."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from mlsrv.controlplane.model_control import ModelControl
from mlsrv.controlplane.registry import Registry
from mlsrv.errors import ConfigurationError, ModelsFailed
from mlsrv.settings import KernelSettings
from mlsrv.transport import Transport
from mlsrv_settings_kit.known_plugins import first_choice

logger = logging.getLogger("mlsrv.kernel")

STOP_MARGIN = 5.0
"""Seconds beyond the grace period after which a transport that does not stop is left behind."""


class Serving:
    """Starts transports when it is entered, and stops them gracefully when it is left.

    Args:
        transports: by name; started in this order.
        registry: the models, whose requests may still run when the transports stop.
        settings: of the kernel.
        on_stop: called once, before the transports stop.

    Attributes:
        started: the transports that are started, or starting, by name.
        end: time of the event loop until which requests in flight may finish; None before the stop.

    Raises:
        ConfigurationError: there is no transport for requests, or one cannot start; those that did are
            stopped.
    """

    def __init__(
        self,
        transports: Mapping[str, Transport],
        registry: Registry,
        settings: KernelSettings,
        on_stop: Callable[[], None],
    ) -> None:
        self.started: dict[str, Transport] = {}
        self.end: float | None = None
        self._transports = transports
        self._registry = registry
        self._settings = settings
        self._on_stop = on_stop

    async def __aenter__(self) -> Serving:
        if not any(transport.takes_requests for transport in self._transports.values()):
            raise ConfigurationError(
                "No transport is installed and enabled; "
                f"install one (pip install {first_choice('transports')})."
            )
        try:
            for name, transport in self._transports.items():
                self.started[name] = transport
                await transport.start()
        except BaseException:
            await self._stop()
            raise
        _warn_of_clear_text([url for transport in self.started.values() for url in transport.endpoints])
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        self._on_stop()
        if kind is None:
            await asyncio.sleep(self._settings.shutdown_delay)
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
        transports = dict(self.started)
        self.started.clear()
        self.end = asyncio.get_running_loop().time() + grace
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
            for handle in self._registry
            if handle.instance is not None and handle.instance.in_flight
        ]
        if running:
            logger.warning("Requests that did not finish within %g s are cut: %s", grace, ", ".join(running))


def _warn_of_clear_text(urls: Sequence[str]) -> None:
    """Log the addresses without TLS if others have it: settings of one transport do not concern others."""
    encrypted = [url for url in urls if url.partition("://")[0].endswith("s")]
    clear = [url for url in urls if url not in encrypted]
    if encrypted and clear:
        logger.warning(
            "TLS is on for %s, and off for %s, where everything is sent in clear text",
            ", ".join(encrypted),
            ", ".join(clear),
        )
