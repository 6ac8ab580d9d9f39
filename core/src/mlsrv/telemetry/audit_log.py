"""Audit log: a JSON line for each control action and each refusal, written by a thread of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from mlsrv.authorization import AccessRequest
from mlsrv.errors import ConfigurationError, MLSrvError

logger = logging.getLogger("mlsrv.audit")

LIMIT = 10_000
"""Lines that may wait to be written; more are dropped, and counted."""

LONGEST = 500
"""Characters of a text that a client chose."""


class AuditLog:
    """Appends lines to a file while it is entered. They have no bodies, no headers and no queries.

    Args:
        path: the file; it is made for its owner alone.
    """

    def __init__(self, path: str) -> None:
        self.dropped = 0
        self._path = path
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="mlsrv-audit-log", daemon=True)
        self._descriptor = -1

    async def __aenter__(self) -> AuditLog:
        try:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"audit_log: {self._path} cannot be written: {error.strerror}"
            ) from error
        self._writer.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._waiting.put(None)
        await asyncio.to_thread(self._writer.join, 5.0)
        os.close(self._descriptor)

    def note(self, access: AccessRequest, principal: str | None, result: str) -> None:
        """Have a line written. Neither blocks nor raises.

        Args:
            access: what was asked for.
            principal: who asked; None if that is not known.
            result: ``"OK"``, or the code of the failure.
        """
        if self._waiting.qsize() >= LIMIT:
            self.dropped += 1
            return
        fields = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "principal": principal,
            "peer": access.peer,
            "transport": access.transport,
            "operation": access.operation[:LONGEST],
            "action": access.action,
            "model": access.model if access.model is None else access.model[:LONGEST],
            "result": result,
        }
        self._waiting.put(json.dumps(fields))

    @contextmanager
    def control(self, access: AccessRequest, principal: str | None) -> Iterator[None]:
        """Note a control action once it has ended, with its result."""
        try:
            yield
        except BaseException as error:
            self.note(
                access, principal, str(error.code) if isinstance(error, MLSrvError) else type(error).__name__
            )
            raise
        self.note(access, principal, "OK")

    def _write(self) -> None:
        said = 0
        while (line := self._waiting.get()) is not None:
            try:
                os.write(self._descriptor, line.encode() + b"\n")
            except OSError as error:
                logger.error("A line of the audit log is lost: %s", error.strerror)
            if self.dropped > said:
                count, said = self.dropped - said, self.dropped
                logger.warning(
                    "The audit log dropped %d lines: they come faster than they are written", count
                )
