"""Scripted model: a model that does what its requests command, for the suites."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mlsrv.context import current_context
from mlsrv.errors import InferenceError
from mlsrv.handlers import custom_handler
from mlsrv.metrics import log
from mlsrv.model import MLModel
from mlsrv.testing.models import echo
from mlsrv.types import InferenceRequest, InferenceResponse, ResponseOutput


def _text(text: str) -> InferenceResponse:
    return InferenceResponse(
        outputs=[ResponseOutput(name="output", shape=[1], datatype="BYTES", data=[text])]
    )


class ScriptedModel(MLModel):
    """Does what the first text of a request commands.

    - ``echo``: answers with its inputs.
    - ``raise``, ``refuse``, ``exit``, ``wrong``: raises a `ValueError` or an `InferenceError`, calls
      ``sys.exit``, returns a value that is not a response.
    - ``wait``: waits until it is cancelled.
    - ``context``: answers with its request's id, headers and priority, as JSON.
    - ``log``: records 1.0 for the metric "scripted".
    - in a stream ``count``, ``endless``, ``break``: five answers, answers without end, two and then an error.

    The handler `double` doubles a number. With ``parameters.extra.notes``, a path, it appends a line there
    when it is loaded, unloaded, cancelled, or closed in a stream; with ``parameters.extra.fail`` loading
    raises.
    """

    async def load(self) -> bool:
        if self.settings.parameters.extra.get("fail"):
            raise ValueError("there are no weights")
        self._note("loaded")
        return True

    async def unload(self) -> bool:
        self._note("unloaded")
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        command = _command(payload)
        if command == "raise":
            raise ValueError("the script says so")
        if command == "refuse":
            raise InferenceError("The script refuses this.")
        if command == "exit":
            sys.exit(3)
        if command == "wrong":
            return command  # type: ignore[return-value]  # what the command is about
        if command == "wait":
            return await self._wait()
        if command == "context":
            return _text(_context())
        if command == "log":
            log(scripted=1.0)
        return echo(payload)

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        number = 0
        try:
            async for payload in payloads:
                command = _command(payload)
                while command == "endless" or number < (2 if command == "break" else 5):
                    yield _text(str(number))
                    number += 1
                if command == "break":
                    raise ValueError("the script says so")
        finally:
            self._note("closed")

    @custom_handler(rest_path="/double")
    async def double(self, value: int) -> int:
        """Return twice the value."""
        return 2 * value

    async def _wait(self) -> InferenceResponse:
        self._note("waiting")
        try:
            await asyncio.Event().wait()
        finally:
            self._note("cancelled")
        raise AssertionError

    def _note(self, text: str) -> None:
        path = self.settings.parameters.extra.get("notes")
        if path is not None:
            with Path(path).open("a", encoding="utf-8") as notes:
                notes.write(f"{text}\n")


def _command(payload: InferenceRequest) -> str:
    text = payload.inputs[0].data[0]
    return text.decode() if isinstance(text, bytes) else str(text)  # bytes where a binary form brought it


def _context() -> str:
    context = current_context.get()
    values: dict[str, Any] = {}
    if context is not None:
        values = {"id": context.request_id, "headers": dict(context.headers), "priority": context.priority}
        values["deadline"] = context.deadline is not None
    return json.dumps(values, sort_keys=True)
