"""Cluster: the connection of this process to Ray, of which it can have one."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import ray
from ray._private.worker import global_worker

from mlsrv.threads import Threads, run_in_own_thread
from mlsrv_ray.failures import ClusterLost
from mlsrv_ray.settings import RaySettings

logger = logging.getLogger("mlsrv.ray")

RECONNECT_AFTER = 30.0
"""Seconds without an answer of the cluster, and without replicas, after which the server connects anew."""

CHECK_TIMEOUT = 5.0
"""Seconds in which the cluster must answer a check."""

SHUTDOWN_TIMEOUT = 10.0
"""Seconds that are waited for the end of the connection."""

LOCAL = "127.0.0.2"
"""Address of a cluster for trying: Ray takes 127.0.0.1 for an address that reaches other machines."""

# Ray ends a process whose head node does not come back within a minute; a server must outlive it.
os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "100000000")

_users = 0
_is_ours = False
_lock = threading.Lock()
_thread = Threads(1, "mlsrv-ray")
"""Where Ray is initialized: not in the main thread, where it would replace the handlers of signals, and in
one that stays, because the processes of a cluster for trying end with the thread that started them."""


class _State(Enum):
    """The finding of a check: the cluster, nothing, or another cluster at its address."""

    ALIVE = auto()
    SILENT = auto()
    REPLACED = auto()


class Cluster:
    """Connects, notices when the cluster is lost, and connects again.

    Args:
        settings: of the server.
        is_idle: returns True if no replica answers.
        on_cut: called before a connection is ended, to make another one: its actors cannot be used any more.
        on_new: called after a connection was made anew.

    Attributes:
        problem: why the cluster cannot be used now, or None.
    """

    def __init__(
        self,
        settings: RaySettings,
        is_idle: Callable[[], bool],
        on_cut: Callable[[], None],
        on_new: Callable[[], None],
    ) -> None:
        self.problem: str | None = None
        self._settings = settings
        self._is_idle = is_idle
        self._on_cut = on_cut
        self._on_new = on_new
        self._watching: asyncio.Task[None] | None = None
        self._checking: asyncio.Task[_State] | None = None

    async def connect(self) -> None:
        """Connect, and watch the connection.

        Raises:
            ClusterLost: the cluster does not answer, or Ray refuses.
        """
        global _users
        await self._init()
        with _lock:
            _users += 1
        self._watching = asyncio.create_task(self._watch(), name="mlsrv-ray-watch")

    async def check(self) -> None:
        """Look whether the cluster answers now.

        Raises:
            ClusterLost: it does not.
        """
        if await self._state() is not _State.ALIVE:
            raise ClusterLost(f"{self._place} does not answer.")

    async def close(self) -> None:
        """End the connection, unless the application made it or another kernel uses it."""
        global _users
        if self._watching is None:
            return
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        with _lock:
            _users -= 1
            is_last = _is_ours and not _users
        if is_last:
            await self._shutdown()

    async def _init(self) -> None:
        limit = self._settings.ray_connect_timeout
        try:
            await asyncio.wait_for(_thread.run(_connect, self._settings), limit)
        except TimeoutError:
            raise ClusterLost(f"{self._place} did not answer within {limit:g} s.") from None
        except Exception as error:  # of any kind: Ray raises ConnectionError, RuntimeError, ValueError, …
            text = " ".join(str(error).split())[:300]
            raise ClusterLost(f"{self._place} cannot be used: {type(error).__name__}: {text}") from error

    async def _shutdown(self) -> None:
        global _is_ours
        _is_ours = False
        try:
            await asyncio.wait_for(run_in_own_thread(ray.shutdown), SHUTDOWN_TIMEOUT)
        except TimeoutError:
            logger.warning("The connection to %s did not end in time", self._place)

    async def _watch(self) -> None:
        lost_at: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.ray_check_interval)
            state = await self._state()
            if state is _State.ALIVE:
                if lost_at is not None:
                    logger.warning("%s answers again", self._place)
                lost_at = self.problem = None
                continue
            if lost_at is None:
                lost_at = loop.time()
                self.problem = f"{self._place} does not answer"
                logger.error("%s does not answer", self._place)
            is_due = self._is_idle() and loop.time() - lost_at > RECONNECT_AFTER
            if _is_ours and (is_due or state is _State.REPLACED):
                await self._reconnect()
                lost_at = loop.time()

    async def _reconnect(self) -> None:
        self._on_cut()
        await self._shutdown()
        try:
            await self._init()
        except ClusterLost as error:
            self.problem = str(error)
            logger.error("%s", error)
            return
        logger.warning("Connected to %s again", self._place)
        self._checking = self.problem = None
        self._on_new()

    async def _state(self) -> _State:
        # A question that hangs is asked once: each takes a thread.
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(_check())
        await asyncio.wait({self._checking}, timeout=self._settings.ray_check_interval)
        return self._checking.result() if self._checking.done() else _State.SILENT

    @property
    def _place(self) -> str:
        return f"The Ray cluster {self._settings.ray_address}"


async def _check() -> _State:
    return await run_in_own_thread(_look)


def _look() -> _State:
    """Look whether the cluster answers and has the node through which this process is connected."""
    if not ray.is_initialized():
        return _State.SILENT
    try:
        own = ray.NodeID.from_hex(ray.get_runtime_context().get_node_id())
        # Not `ray.nodes`: it aborts this process where another cluster has taken the address.
        worker: Any = global_worker
        (is_alive,) = worker.gcs_client.check_alive([own], timeout=CHECK_TIMEOUT)
    except Exception as error:  # of any kind: whatever Ray raises, it cannot be used
        return _State.REPLACED if "WrongClusterID" in str(error) else _State.SILENT
    return _State.ALIVE if is_alive else _State.SILENT


def _connect(settings: RaySettings) -> None:
    """Connect this process, unless it is connected. Raises whatever Ray does."""
    global _is_ours
    address = settings.ray_address or ""
    host, _, port = address.rpartition(":")
    if ray.is_initialized():
        return
    options: dict[str, Any] = {}
    if port.isdecimal():
        # Ray itself tries for minutes, and cannot be stopped.
        socket.create_connection((host, int(port)), timeout=settings.ray_connect_timeout).close()
    if address == "local":
        options = {"include_dashboard": False, "_node_ip_address": LOCAL}
    elif host.startswith("127."):
        options = {"_node_ip_address": host}  # else Ray uses an address that reaches other machines
    ray.init(
        address=address,
        namespace=settings.ray_namespace,
        log_to_driver=False,
        logging_level=logging.WARNING,
        configure_logging=False,
        **options,
    )
    _is_ours = True
