"""Log forwarding: sends the log records of a worker to the server."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mlsrv_executor_kit.log_records import record_fields
from mlsrv_executor_kit.plain_values import dump_value
from mlsrv_workers.ipc.frames import FrameKind

if TYPE_CHECKING:
    from mlsrv_workers.ipc.connection import Connection


class ForwardingHandler(logging.Handler):
    """Sends log records to the server; may be called from any thread."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._connection.send_threadsafe(FrameKind.LOG, dump_value(record_fields(record)))
        except Exception:  # a record's arguments may not fit its text; `handleError` reports it
            self.handleError(record)
