"""Wrapped handlers are kept, but not for ever."""

from __future__ import annotations

from typing import Any

from mlsrv_grpc import handler_wrapping
from mlsrv_grpc.handler_wrapping import WrappedHandlers


def test_a_handler_is_wrapped_once_and_another_one_of_its_method_anew() -> None:
    made: list[tuple[Any, str]] = []
    handlers = WrappedHandlers(lambda handler, method: made.append((handler, method)) or len(made))
    assert [handlers.wrapped("a", "/m"), handlers.wrapped("a", "/m"), handlers.wrapped("b", "/m")] == [
        1,
        1,
        2,
    ]
    assert made == [("a", "/m"), ("b", "/m")]


def test_clients_that_make_up_methods_fill_no_memory(monkeypatch: Any) -> None:
    monkeypatch.setattr(handler_wrapping, "_MOST_HANDLERS", 3)
    made: list[str] = []
    handlers = WrappedHandlers(lambda handler, method: made.append(method) or handler)
    for number in range(4):
        handlers.wrapped("any", f"/{number}")
    handlers.wrapped("any", "/3")
    assert made == ["/0", "/1", "/2", "/3"]
    handlers.wrapped("any", "/0")
    assert made[-1] == "/0"
