"""Noted headers: headers of a request that note whether code of a model reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlsrv.context import CallContext
from mlsrv_protocol.types import InferenceRequest


class NotedHeaders(dict[str, str]):
    """A dictionary that notes a look-up. Copies are plain ones, and to make one is no look-up: so it is sent
    to other processes, where nothing is noted.

    Attributes:
        were_read: whether there was one.
    """

    were_read = False

    def __getitem__(self, name: str) -> str:
        self.were_read = True
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.were_read = True
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.were_read = True
        return super().get(name, default)

    def items(self) -> Any:
        self.were_read = True
        return super().items()

    def __reduce__(self) -> tuple[type[dict[str, str]], tuple[dict[str, str]]]:
        return dict, (self.copy(),)


@contextmanager
def noting(request: InferenceRequest, context: CallContext) -> Iterator[list[NotedHeaders]]:
    """Put noted headers into a request and its context while the model answers; gives them."""
    parameters, headers = request.parameters, context.headers
    noted = [NotedHeaders(headers)]
    own = None if parameters is None else parameters.headers
    context.headers = noted[0]
    if parameters is not None and own is not None:
        noted.append(NotedHeaders(own))
        parameters.headers = noted[1]
    try:
        yield noted
    finally:
        context.headers = headers
        if parameters is not None and own is not None:
            parameters.headers = own
