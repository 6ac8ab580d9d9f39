"""Replica: one actor with a model, as the server sees it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeVar

import ray
from attrs import evolve, frozen
from ray.exceptions import RayActorError, RayError

from mlsrv.errors import MLSrvError, ModelFailed
from mlsrv.metrics import Metric, ProcessMetric
from mlsrv.threads import run_in_own_thread
from mlsrv_executor_kit.log_records import handle_record
from mlsrv_executor_kit.plain_data import NotPlain, load_plain
from mlsrv_executor_kit.plugin_specs import PluginSpecs
from mlsrv_ray.actor import ModelActor
from mlsrv_ray.calls import answer_of
from mlsrv_ray.failures import ClusterLost, ReplicaEnded

logger = logging.getLogger("mlsrv.ray")

CALLS = 1000
"""Calls that an actor runs at once: the server decides how many of them are requests."""

PATIENCE = 10.0
"""Seconds after which a replica that waits for resources of the cluster is logged, and after which requests
that were given up and go on count as stuck."""

METRICS_TIMEOUT = 1.0
"""Seconds in which an actor must tell its metrics."""

METRICS_PAUSE = 30.0
"""Seconds for which an actor that did not is not asked again."""

UNLOAD_TIMEOUT = 10.0
"""Seconds in which a model must unload, before its actor ends."""


_T = TypeVar("_T")

_processes = itertools.count(1)


@frozen
class LaunchSpec:
    """Description of how the actors of a model are started.

    Attributes:
        plugins: the plugins that they load.
        settings: settings of the server, as plain data.
        options: options of the actor: resources, runtime environment, scheduling.
        record: called with values of metrics.
        leave: called with the number of a process that ends, and the metrics that code made there with
            `prometheus_client` alone.
    """

    plugins: PluginSpecs
    settings: dict[str, Any]
    options: dict[str, Any]
    record: Callable[[Metric, float, tuple[str, ...]], None]
    leave: Callable[[int, list[ProcessMetric]], None]

    def in_folder(self, address: str) -> LaunchSpec:
        """Return the same with the files at an address of Ray as the working directory."""
        environment = {**self.options.get("runtime_env", {}), "working_dir": address}
        return evolve(self, options={**self.options, "runtime_env": environment})


class Replica:
    """One actor and its calls.

    Args:
        name: of the model.
        number: of the replica.
        launch: how the actor is started, by `load`.
        on_end: called when the actor has ended, or was given up as stuck, with the reason.

    Attributes:
        process: a number of its process that no process on this machine has, and no other replica.
        limit: requests that it runs at once.
        running: requests that it runs now, with those that were given up and go on.
        idle_since: when it had its last request, in seconds of the event loop's clock.
    """

    def __init__(
        self, name: str, number: int, launch: LaunchSpec, on_end: Callable[[Replica, str], None]
    ) -> None:
        self.number = number
        self.process = -next(_processes)
        self.limit = 1
        self.running = 0
        self.idle_since = asyncio.get_running_loop().time()
        self._name = name
        self._launch = launch
        self._on_end = on_end
        self._abandoned = 0
        self._ended = False
        self._metrics_after = 0.0
        self._waits: set[asyncio.Future[Any]] = set()
        self._actor: Any = None
        self._listening: asyncio.Task[None] | None = None

    async def load(self, pickled: bytes, code: Any, archive: Any) -> Any:
        """Load the model; returns its description as plain data.

        Raises:
            MLSrvError: it cannot be loaded; the actor has ended then.
        """
        # In a thread: Ray blocks for as long as the cluster does not answer.
        self._actor = await run_in_own_thread(self._create)
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
            return await self._within(answer)
        except asyncio.CancelledError:
            if not answer.done():
                self.cancel(ref)
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

    async def next_of(self, answers: Any) -> Any:
        """Return the next answer of a stream, or None at its end.

        Raises:
            ReplicaEnded: the actor has ended.
            RayError: the call has ended.
        """
        step = asyncio.ensure_future(_first(answers))
        try:
            return await self._within(step)
        finally:
            step.cancel()

    def cancel(self, call: Any) -> None:
        """Cancel a call: what `remote` returned."""
        if not self._ended:
            ray.cancel(call)

    async def feed(self, call: int, plain: Any, *arrays: Any) -> None:
        """Send a request of a stream."""
        try:
            await self._actor.feed.remote(call, plain, *arrays)
        except RayError as error:
            raise self.failure(error) from error

    async def process_metrics(self) -> list[ProcessMetric] | None:
        """Return the metrics that code made with `prometheus_client` alone, or None if there is no answer."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._metrics_after:
            return None
        try:
            async with asyncio.timeout(METRICS_TIMEOUT):
                found: list[ProcessMetric] = load_plain(await self._actor.metrics.remote())
        except (RayError, NotPlain, TimeoutError):  # it has ended, or its event loop is busy
            self._metrics_after = loop.time() + METRICS_PAUSE
            return None
        return found

    async def unload(self) -> None:
        """Unload the model and end the actor. Idempotent."""
        if self._ended:
            return
        self._ended = True
        try:
            async with asyncio.timeout(UNLOAD_TIMEOUT):
                events, dropped, metrics = await self._actor.unload.remote()
            self._handle(events, dropped)
            self._launch.leave(self.process, load_plain(metrics))
        except (RayError, NotPlain) as error:
            logger.warning("Model %s was not unloaded on the cluster: %s", self._name, _text(error))
        except TimeoutError:
            logger.warning("Model %s did not unload within %g s on the cluster", self._name, UNLOAD_TIMEOUT)
        finally:
            self.kill()

    def drop(self) -> None:
        """Fail the calls that the actor has, which Ray may never do. Idempotent."""
        self._ended = True
        if self._listening is not None:
            self._listening.cancel()
        for wait in self._waits:
            if not wait.done():
                wait.set_exception(self._has_ended())

    def kill(self) -> None:
        """End the actor at once. Idempotent."""
        self.drop()
        if self._actor is not None:
            threading.Thread(target=self._kill, name=f"mlsrv-ray-kill-{self.number}", daemon=True).start()

    def failure(self, error: RayError) -> MLSrvError:
        """Return the error of a call for one that Ray has raised; a replica that has ended is replaced."""
        if isinstance(error, RayActorError):
            if not self._ended:
                self._end(_text(error))
            return self._has_ended()
        return ModelFailed(f"Model {self._name}: the cluster lost the answer: {_text(error)}")

    # --- inside ---------------------------------------------------------------------------------------------

    def _create(self) -> Any:
        if not ray.is_initialized():  # Ray would start a cluster itself
            raise ClusterLost(f"Model {self._name}: there is no connection to the cluster.")
        # The server counts and traces calls itself: what Ray would report takes a sixth of a call's CPU time.
        fixed: dict[str, Any] = {"max_concurrency": CALLS, "max_restarts": 0, "enable_task_events": False}
        made = ray.remote(ModelActor).options(**fixed, **self._launch.options)
        return made.remote(self._launch.plugins, self._launch.settings, logging.getLogger().level)

    def _kill(self) -> None:
        try:
            if ray.is_initialized():
                ray.kill(self._actor)
        except Exception as error:  # of any kind: the cluster may be lost, and the actor with it
            logger.debug("An actor of model %s was not ended: %s", self._name, _text(error))

    def _has_ended(self) -> ReplicaEnded:
        return ReplicaEnded(f"A replica of model {self._name} ended while it had the request.")

    async def _within(self, work: asyncio.Future[_T]) -> _T:
        """Wait until something ends, or the replica. Cancelling does not end it."""
        wait = asyncio.shield(work)
        work.add_done_callback(_read)
        self._waits.add(wait)
        try:
            return await wait
        finally:
            self._waits.discard(wait)

    def _abandon(self, answer: asyncio.Future[Any]) -> None:
        """Count a call that was given up until it has ended on the cluster."""
        self._abandoned += 1
        answer.add_done_callback(self._abandoned_ended)
        asyncio.get_running_loop().call_later(PATIENCE, self._look_for_stuck)

    def _abandoned_ended(self, answer: asyncio.Future[Any]) -> None:
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


def _read(ended: asyncio.Future[Any]) -> None:
    if not ended.cancelled():
        ended.exception()  # read, in case nothing waits for it any more


async def _first(answers: Any) -> Any:
    async for reference in answers:
        return await reference
    return None


def _text(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :200
    ]
