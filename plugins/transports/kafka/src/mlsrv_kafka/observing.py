"""Observing: what plugins that trace records implement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mlsrv.errors import MLSrvError


class Observation(Protocol):
    """One record, from when it is read until it is done with.

    Attributes:
        trace: W3C headers (``traceparent``, ``tracestate``) with which the request continues.
    """

    trace: Mapping[str, str]

    def sending(self, topic: str) -> Mapping[str, str]:
        """An answer, or an error record, is handed over for a topic; of a stream, its first one.

        Returns:
            The W3C headers that an answer has.
        """

    def done(self, error: MLSrvError | None) -> None:
        """The record is done with: its answer is confirmed, or `error` says why it has none."""

    def abandoned(self) -> None:
        """The record is left to another server, or to a later start."""


class RecordObserver(Protocol):
    """Observes the records that are answered. It is called on the event loop and must not block."""

    def begin(self, topic: str, partition: int, offset: int, trace: Mapping[str, str]) -> Observation:
        """Begin to observe a record.

        Args:
            topic, partition, offset: where it was read.
            trace: W3C headers that it has, names in lower case; empty without any.
        """
