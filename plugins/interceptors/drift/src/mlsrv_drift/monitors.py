"""Monitors: those of all models of a kernel, and the one thread that works for them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from mlsrv_drift.monitor import Monitor

logger = logging.getLogger("mlsrv.drift")

GATHER_SECONDS = 0.05
"""Seconds between two looks of the thread at what waits: waking it for each request would slow answers."""

TICK_SECONDS = 1.0
"""Seconds between two looks while nothing comes, for windows that end by time."""

CLOSE_SECONDS = 10.0
"""Seconds that the thread may take to end."""

Key = tuple[str, str | None]


class Monitors:
    """The monitors by name and version of their models, shared by the hooks of one kernel."""

    def __init__(self) -> None:
        self._monitors: dict[Key, tuple[Monitor, int]] = {}
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Tell the thread that something waits."""
        if not self._event.is_set():
            self._event.set()

    def find(self, name: str, version: str | None) -> Monitor | None:
        """Return the monitor of a version of a model, or None."""
        found = self._monitors.get((name, version))
        return None if found is None else found[0]

    def enter(self, key: Key, fits: Callable[[Monitor], bool], make: Callable[[], Monitor]) -> Monitor:
        """Return the monitor of a model that has been loaded: while it is reloaded, that of the old instance,
        if it `fits` the new one."""
        with self._lock:
            found, users = self._monitors.get(key, (None, 0))
            if found is not None and not fits(found):
                found.save()
                found = None
            monitor = make() if found is None else found
            self._monitors[key] = monitor, users + 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlsrv-drift", daemon=True)
                self._thread.start()
        return monitor

    def leave(self, key: Key) -> None:
        """Note that an instance of a model was unloaded; with the last one its monitor ends."""
        with self._lock:
            monitor, users = self._monitors[key]
            self._monitors[key] = monitor, users - 1
            if users > 1:
                return
            del self._monitors[key]
            self._work(monitor)
            monitor.save()

    def close(self) -> None:
        """End the thread. Models are unloaded before."""
        self._ended.set()
        self._event.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            if not any(monitor.waiting for monitor, _ in list(self._monitors.values())):
                self._event.wait(TICK_SECONDS)
            self._ended.wait(GATHER_SECONDS)
            self._event.clear()
            with self._lock:
                for monitor, _ in self._monitors.values():
                    self._work(monitor)

    def _work(self, monitor: Monitor) -> None:
        try:
            monitor.work()
        except Exception:  # the others must be watched all the same
            logger.exception("Model %s: the watch for drift failed", monitor.subject.model)
