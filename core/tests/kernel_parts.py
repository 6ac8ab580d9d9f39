"""Small parts that several tests of the kernel need."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import mlsrv
from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.errors import MLSrvError
from mlsrv.interceptor import Interceptor
from mlsrv.testing import EchoModel, MemoryRepository, Offering, text_request
from mlsrv.types import InferenceRequest, InferenceResponse


def shelved(models: list[Any], *plugins: object, **settings: Any) -> Kernel:
    """A kernel whose repository lists what is in `models` at that time; an exception among them is raised."""
    return Kernel(
        {
            "model_repository_root": "shelf",
            "model_repository_implementation": "shelf",
            "model_repository_implementation_args": {"models": models},
            **settings,
        },
        plugins=[Offering(mlsrv.RepositoryOffer("shelf", Shelf)), *plugins],
        discover=False,
    )


class Shelf(MemoryRepository):
    """Raises an exception that lies between the models."""

    async def list(self) -> Any:
        await asyncio.sleep(0)
        for found in self.models:
            if isinstance(found, BaseException):
                raise found
        return await super().list()


class States:
    """A plugin that writes down what becomes of models."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @mlsrv.hookimpl
    def mlsrv_model_state(self, model: Any, state: Any, reason: str) -> None:
        self.seen.append(f"{model.name} {state}" + (f": {reason}" if reason else ""))


class Intercepted:
    """A plugin that puts interceptors before every model; `make` is called for each load."""

    def __init__(self, make: Callable[[], Interceptor | None]) -> None:
        self._make = make

    @mlsrv.hookimpl
    def mlsrv_interceptors(self) -> Interceptor | None:
        return self._make()


class Spanning:
    """A plugin with a lifespan."""

    def __init__(
        self, name: str, events: list[str], enter: Exception | None = None, leave: Exception | None = None
    ):
        self.__name__ = name
        self._events = events
        self._enter = enter
        self._leave = leave

    @mlsrv.hookimpl
    def mlsrv_lifespan(self) -> Any:
        @contextlib.asynccontextmanager
        async def lifespan() -> AsyncIterator[None]:
            self._events.append(f"enter {self.__name__}")
            if self._enter is not None:
                raise self._enter
            yield
            self._events.append(f"leave {self.__name__}")
            if self._leave is not None:
                raise self._leave

        return lifespan()


class Gate:
    """Where a model waits until a test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def pass_through(self) -> None:
        self.reached.set()
        await self.open.wait()


def waiting_model(gate: Gate) -> type[MLModel]:
    """An echo model whose `predict` passes through a gate."""

    class Waiting(EchoModel):
        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            await gate.pass_through()
            return await super().predict(payload)

    return Waiting


def model(
    name: str = "m", cls: object = EchoModel, version: str | None = None, **fields: Any
) -> ModelSettings:
    """Settings of a model."""
    return ModelSettings(name=name, implementation=cls, parameters={"version": version}, **fields)


async def ask(kernel: Kernel, name: str = "m", text: str = "hi", version: str | None = None) -> Any:
    """One request, and the text of its answer."""
    request = text_request(name, [text])
    request.model_version = version
    return (await kernel.infer(request)).outputs[0].data[0]


async def ask_or_error(kernel: Kernel, name: str = "m") -> str:
    """The answer, or the code of the failure."""
    try:
        return str(await ask(kernel, name))
    except MLSrvError as error:
        return str(error.code)
