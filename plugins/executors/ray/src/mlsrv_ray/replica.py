"""Replica: one actor with a model, as the server sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import ray
from attrs import frozen
from ray.exceptions import RayActorError, RayError

from mlsrv.errors import MLSrvError, ModelFailed
from mlsrv.metrics import Metric
from mlsrv_executor_kit.log_records import handle_record
from mlsrv_executor_kit.plain_data import NotPlain, load_plain
from mlsrv_executor_kit.plugin_specs import PluginSpecs
from mlsrv_ray.actor import ModelActor
from mlsrv_ray.calls import answer_of
from mlsrv_ray.failures import ReplicaEnded

logger = logging.getLogger("mlsrv.ray")

CALLS = 1000
"""Calls that an actor runs at once: the server decides how many of them are requests."""

PATIENCE = 10.0
"""Seconds after which a replica that waits for resources of the cluster is logged, and after which requests
that were given up and go on count as stuck."""

UNLOAD_TIMEOUT = 10.0
"""Seconds in which a model must unload, before its actor ends."""


@frozen
class LaunchSpec:
    """Description of how the actors of a model are started.

    Attributes:
        plugins: the plugins that they load.
        settings: settings of the server, as plain data.
        options: options of the actor: resources, runtime environment, scheduling.
        record: called with values of metrics.
    """

    plugins: PluginSpecs
    settings: dict[str, Any]
    options: dict[str, Any]
    record: Callable[[Metric, float, tuple[str, ...]], None]


class Replica:
    """One actor and its calls.

    Args:
        name: of the model.
        number: of the replica.
        launch: how the actor is started.
        on_end: called when the actor has ended, or was given up as stuck, with the reason.

    Attributes:
        limit: requests that it runs at once.
        running: requests that it runs now, with those that were given up and go on.
        idle_since: when it had its last request, in seconds of the event loop's clock.
    """

    def __init__(
        self, name: str, number: int, launch: LaunchSpec, on_end: Callable[[Replica, str], None]
    ) -> None:
        self.number = number
        self.limit = 1
        self.running = 0
        self.idle_since = asyncio.get_running_loop().time()
        self._name = name
        self._launch = launch
        self._on_end = on_end
        self._abandoned = 0
        self._ended = False
        made = ray.remote(ModelActor).options(max_concurrency=CALLS, max_restarts=0, **launch.options)
        self._actor: Any = made.remote(launch.plugins, launch.settings, logging.getLogger().level)
        self._listening: asyncio.Task[None] | None = None

    async def load(self, pickled: bytes, code: Any, archive: Any) -> Any:
        """Load the model; returns its description as plain data.

        Raises:
            MLSrvError: it cannot be loaded; the actor has ended then.
        """
        try:
            ref = self._actor.load.remote(version("mlsrv-core"), pickled, code, archive)
            answer = asyncio.wrap_future(ref.future())
            _, waits = await asyncio.wait({answer}, timeout=PATIENCE)
            if waits:
                logger.warning(
                    "Model %s: a replica is not loaded after %g s; it may wait for resources of the cluster",
                    self._name,
                    PATIENCE,
                )
            plain, _ = answer_of(await answer)
        except RayError as error:
            self.kill()
            raise ReplicaEnded(f"A replica of model {self._name} did not start: {_text(error)}") from error
        except BaseException:
            self.kill()
            raise
        self._listening = asyncio.create_task(self._listen(), name=f"mlsrv-ray-{self._name}-{self.number}")
        return plain

    async def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the actor, and return its answer. Cancelling gives the call up.

        The caller has counted the call in `running`; it ends here, or later if it was given up and goes on.

        Raises:
            ReplicaEnded: the actor has ended.
        """
        try:
            ref = getattr(self._actor, method).remote(*arguments)
            answer = asyncio.wrap_future(ref.future())
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if not answer.done():
                ray.cancel(ref)
                self._abandon(answer)
                self.running += 1
            raise
        except RayError as error:
            raise self.failure(error) from error
        finally:
            self.running -= 1

    def stream(self, call: int, body: bytes, window: int) -> Any:
        """Begin a stream, and return Ray's generator of references to its answers."""
        options = {"num_returns": "streaming", "_generator_backpressure_num_objects": window}
        return self._actor.stream.options(**options).remote(call, body)

    async def feed(self, call: int, plain: Any, *arrays: Any) -> None:
        """Send a request of a stream."""
        try:
            await self._actor.feed.remote(call, plain, *arrays)
        except RayError as error:
            raise self.failure(error) from error

    async def unload(self) -> None:
        """Unload the model and end the actor. Idempotent."""
        if self._ended:
            return
        self._ended = True
        try:
            ref = self._actor.unload.remote()
            await asyncio.wait({asyncio.wrap_future(ref.future())}, timeout=UNLOAD_TIMEOUT)
        except RayError as error:
            logger.warning("Model %s was not unloaded on the cluster: %s", self._name, _text(error))
        finally:
            await self._drain()
            self.kill()

    def kill(self) -> None:
        """End the actor at once. Idempotent."""
        self._ended = True
        if self._listening is not None:
            self._listening.cancel()
        try:
            ray.kill(self._actor)
        except Exception as error:  # of any kind: the cluster may be lost, and the actor with it
            logger.debug("An actor of model %s was not ended: %s", self._name, _text(error))

    def failure(self, error: RayError) -> MLSrvError:
        """Return the error of a call for one that Ray has raised; a replica that has ended is replaced."""
        if isinstance(error, RayActorError):
            if not self._ended:
                self._end(_text(error))
            return ReplicaEnded(f"A replica of model {self._name} ended while it had the request.")
        return ModelFailed(f"Model {self._name}: the cluster lost the answer: {_text(error)}")

    # --- inside ---------------------------------------------------------------------------------------------

    def _abandon(self, answer: asyncio.Future[Any]) -> None:
        """Count a call that was given up until it has ended on the cluster."""
        self._abandoned += 1
        answer.add_done_callback(self._abandoned_ended)
        asyncio.get_running_loop().call_later(PATIENCE, self._look_for_stuck)

    def _abandoned_ended(self, answer: asyncio.Future[Any]) -> None:
        if not answer.cancelled():
            answer.exception()  # read: the caller has left
        self._abandoned -= 1
        self.running -= 1

    def _look_for_stuck(self) -> None:
        if self._abandoned >= self.limit and not self._ended:
            self._end("requests that were given up took all it may run")

    async def _listen(self) -> None:
        """Pass log records and metrics on, until the actor ends."""
        while True:
            try:
                events, dropped = await self._actor.events.remote()
            except RayError as error:
                if not self._ended:
                    self._end(_text(error))
                return
            self._handle(events, dropped)

    async def _drain(self) -> None:
        if self._listening is not None:
            await asyncio.sleep(0)  # what was fetched already is handled

    def _handle(self, events: list[tuple[str, bytes]], dropped: int) -> None:
        if dropped:
            logger.warning(
                "Model %s: %d log records and metrics of a replica were dropped", self._name, dropped
            )
        for kind, body in events:
            try:
                plain = load_plain(body)
                if kind == "log":
                    handle_record(plain, self.number)
                else:
                    metric, value, labels = plain
                    self._launch.record(Metric(*metric), value, labels)
            except (NotPlain, ValueError, TypeError) as error:
                logger.warning("Model %s: an event of a replica cannot be read: %s", self._name, error)

    def _end(self, reason: str) -> None:
        self.kill()
        self._on_end(self, reason)


def _text(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :200
    ]
