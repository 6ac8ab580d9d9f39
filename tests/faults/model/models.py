"""Models that get into trouble, as they are told by their settings and requests."""

import asyncio
import ctypes
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

import mlsrv
from mlsrv.types import Datatype, InferenceRequest, InferenceResponse, ResponseOutput


class Troubled(mlsrv.MLModel):
    """Answers with its process id and its artifact; the number in a request says what happens before."""

    artifact = 0

    def load(self) -> bool:
        if self.extra("deadly") and Path(self.extra("deadly")).exists():
            os._exit(7)
        if self.extra("artifact"):
            self.artifact = int(Path(self.extra("artifact")).read_text())
        if self.extra("child") and os.fork() == 0:
            # A helper process that keeps every descriptor of the worker open.
            time.sleep(4 if self.extra("child") == "short" else 600)
            os._exit(0)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        await self.suffer(payload)
        return self.answer()

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for payload in payloads:
            for _ in range(1000):
                await self.suffer(payload)
                yield self.answer()

    async def suffer(self, payload: InferenceRequest) -> None:
        """0: nothing; positive: wait so many seconds; -1: hold the interpreter for ever; -2: want too much
        memory."""
        number = float(np.asarray(payload.inputs[0].data).reshape(-1)[0])
        self.note("begun")
        if number == -1:
            ctypes.PyDLL(None).sleep(1000)
        if number == -2:
            resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
            bytearray(8 << 30)
        if number > 0:
            try:
                await asyncio.sleep(number)
            except asyncio.CancelledError:
                self.note("cancelled")
                raise

    def answer(self) -> InferenceResponse:
        data = np.array([os.getpid(), self.artifact])
        return InferenceResponse(outputs=[ResponseOutput("output", [2], Datatype.INT64, data)])

    def extra(self, name: str) -> Any:
        return self.settings.parameters.extra.get(name)

    def note(self, what: str) -> None:
        if self.extra("notes"):
            with Path(self.extra("notes")).open("a") as file:
                print(what, file=file)
        sys.stdout.flush()


class Held(mlsrv.MLModel):
    """Answers with its input, row by row, after as many seconds as its largest number says."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensor = payload.inputs[0]
        await asyncio.sleep(float(np.max(tensor.data)))
        return InferenceResponse(
            outputs=[ResponseOutput("output", tensor.shape, tensor.datatype, tensor.data)]
        )


class Noted(Held):
    """A `Held` that notes the id of each request when it begins."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        with Path(self.settings.parameters.extra["notes"]).open("a") as file:
            print(payload.id, file=file)
        return await super().predict(payload)


class Slow(mlsrv.MLModel):
    """Takes a minute to load, in a thread that nothing interrupts."""

    def load(self) -> bool:
        Path(self.settings.parameters.extra["notes"]).write_text("loading")
        time.sleep(60)
        return True


class Evil(mlsrv.MLModel):
    """Does what a text says: ``hang:SECONDS`` in a thread, ``exit:STATUS``, ``raise:BYTES`` with that many
    bytes in a local variable."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:
        command, _, value = text_of(payload).partition(":")
        if command == "hang":
            time.sleep(float(value))
        if command == "exit":
            os._exit(int(value))
        if command == "raise":
            kept = np.ones(int(value) // 8)
            raise ValueError(f"bad input of {kept.nbytes} bytes")
        return pid_answer()


class Cyclic(mlsrv.MLModel):
    """Holds 40 MiB in a reference cycle; answers with its process id."""

    def load(self) -> bool:
        self.parent = self
        self.weights = np.ones(40 * 2**20 // 8)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return pid_answer()


class Blocking(mlsrv.MLModel):
    """Blocks the event loop of its process for as many seconds as its text says."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        time.sleep(float(text_of(payload)))
        return pid_answer()


class Sync(mlsrv.MLModel):
    """Answers with its process id, from a thread."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:
        return pid_answer()


def text_of(payload: InferenceRequest) -> str:
    found = payload.inputs[0].data[0]
    return found.decode() if isinstance(found, bytes) else str(found)


def pid_answer() -> InferenceResponse:
    return InferenceResponse(outputs=[ResponseOutput("output", [1], Datatype.INT64, np.array([os.getpid()]))])


class Interrupted(mlsrv.MLModel):
    """Raises what ends a process, in code that runs on the event loop: SystemExit for 1, else
    KeyboardInterrupt."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        number = float(np.asarray(payload.inputs[0].data).reshape(-1)[0])
        if number == 0:
            return pid_answer()
        raise SystemExit(3) if number == 1 else KeyboardInterrupt


class InterruptedLoad(mlsrv.MLModel):
    """Raises KeyboardInterrupt when it is loaded."""

    async def load(self) -> bool:
        raise KeyboardInterrupt


class Deaf(mlsrv.MLModel):
    """Ends neither a request nor its unload, in threads that nothing interrupts."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:
        Path(self.settings.parameters.extra["notes"]).write_text("begun")
        time.sleep(1000)
        return pid_answer()

    def unload(self) -> bool:
        time.sleep(1000)
        return True
