"""Errors: what codecs raise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlserver.errors import MLServerError
from mlserver.types import RequestInput

__all__ = ["CodecError", "CodecNotFound", "InputsNotFound", "OutputNotFound"]


class CodecError(MLServerError):
    """A value cannot be decoded or encoded."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg, 400)


class CodecNotFound(MLServerError):
    """No codec takes a value or an annotation."""

    def __init__(
        self,
        name: str | None = None,
        payload_type: str | None = None,
        is_input: bool = False,
        is_request: bool = False,
    ) -> None:
        what = "request" if is_request and is_input else "input" if is_input else "output"
        named, kind = f" {name!r}" if name else "", f" of type {payload_type}" if payload_type else ""
        super().__init__(f"There is no codec for the {what}{named}{kind}.")


class InputsNotFound(MLServerError):
    """A request has inputs that a model does not take."""

    def __init__(self, inputs: Iterable[RequestInput], input_hints: Mapping[str, Any]) -> None:
        names = ", ".join(tensor.name for tensor in inputs)
        super().__init__(f"The inputs {names} are not known; these are: {', '.join(input_hints)}.")


class OutputNotFound(MLServerError):
    """A model returned a value for which its annotations have no output."""

    def __init__(self, output_idx: int, output_type: type, output_hints: Iterable[Any]) -> None:
        hints = ", ".join(map(str, output_hints))
        super().__init__(f"Output {output_idx} is a {output_type.__name__}; annotated are: {hints}.")
