"""One loaded model, in the process where it lives. The same class in-process, in a worker and in a cluster
actor."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from mlsrv.catalog import Catalog
from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.context import CallContext, current_context
from mlsrv.custom import CustomCode
from mlsrv.errors import MLSrvError, ModelFailed, ModelLoadError, Unsupported
from mlsrv.executor import ModelInfo, Placement
from mlsrv.handlers import handlers_of
from mlsrv.metrics import ModelMetrics, Record, current_metrics, discard
from mlsrv.model import MLModel
from mlsrv.offers import CodecOffer
from mlsrv.settings import ModelSettings
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

logger = logging.getLogger("mlsrv.model")

_T = TypeVar("_T")

# User code may raise SystemExit (`sys.exit()` in a library); it must fail one request, not end the server.
_USER_ERRORS = (Exception, SystemExit)


class ModelHost(Placement):
    """Loads one model and answers for it.

    Args:
        settings: resolved settings, with an ``implementation``.
        catalog: the codecs and runtimes of this process.
        threads: where synchronous user code runs.
        record: where user code's metrics go.
    """

    def __init__(
        self, settings: ModelSettings, catalog: Catalog, threads: ThreadPoolExecutor, record: Record = discard
    ) -> None:
        self.settings = settings
        self.info = ModelInfo()
        self._catalog = catalog
        self._threads = threads
        self._metrics = ModelMetrics(settings.name, settings.version, record)
        self._model: MLModel | None = None
        self._code: CustomCode | None = None
        self._predict: Callable[[InferenceRequest], Awaitable[Any]] = _not_loaded

    async def load(self) -> ModelInfo:
        """Import, make and load the model.

        Raises:
            MLSrvError: in most cases a `ModelLoadError`, with the cause chained. Nothing is left behind.
        """
        try:
            await self._load()
        except BaseException:
            await self.unload()
            raise
        return self.info

    async def _load(self) -> None:
        name = self.settings.name
        # Importing a framework may take seconds: not on the event loop.
        cls, self._code = await self._in_thread(self._catalog.runtime_class, self.settings)
        codecs = self._catalog.codecs.child()
        if self._code is not None:
            for offer in _module_codecs(self._code):
                codecs.add(offer, f"model {name}")
        current_metrics.set(self._metrics)
        try:
            model = cls(self.settings)
            model.bind(codecs)
            loaded = await self._run(model.load)
            metadata = await self._run(model.metadata)
        except MLSrvError:
            raise
        except _USER_ERRORS as error:
            raise ModelLoadError(f"Model {name} failed to load: {type(error).__name__}: {error}") from error
        if loaded is False:
            raise ModelLoadError(f"Model {name}: load() of {cls.__qualname__} returned False.")
        model.ready = True
        self._model = model
        self._predict = self._runner(model.predict)
        self.info = ModelInfo(
            platform=metadata.platform,
            versions=tuple(metadata.versions),
            inputs=tuple(metadata.inputs),
            outputs=tuple(metadata.outputs),
            streams=cls.predict_stream is not MLModel.predict_stream,
            predicts=cls.predict is not MLModel.predict,
            asynchronous=inspect.iscoroutinefunction(model.predict),
            handlers=handlers_of(cls),
        )

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        context.check()
        current_metrics.set(self._metrics)
        current_context.set(context)
        try:
            response = await self._predict(request)
        except MLSrvError:
            raise
        except _USER_ERRORS as error:
            raise self._failed(error, context) from error
        return self._finished(response, request, context)

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        context.check()
        model = self._loaded()
        if not self.info.streams:
            async for request in requests:
                yield await self.infer(request, context)
            return
        current_metrics.set(self._metrics)
        current_context.set(context)
        first = _First(requests)
        responses = model.predict_stream(first)
        try:
            async for response in self._iterate(responses):
                yield self._finished(response, first.request, context)
        except MLSrvError:
            raise
        except _USER_ERRORS as error:
            raise self._failed(error, context) from error
        finally:
            close = getattr(responses, "aclose", None)
            if close is not None:
                await close()

    async def call(self, method: str, arguments: Mapping[str, Any], context: CallContext) -> Any:
        context.check()
        if method not in self.info.handlers:
            raise Unsupported(f"Model {self.settings.name} has no handler {method}.")
        current_metrics.set(self._metrics)
        current_context.set(context)
        try:
            return await self._run(getattr(self._loaded(), method), **arguments)
        except MLSrvError:
            raise
        except _USER_ERRORS as error:
            raise self._failed(error, context) from error

    async def unload(self) -> None:
        model, self._model = self._model, None
        code, self._code = self._code, None
        self._predict = _not_loaded
        try:
            if model is not None:
                await self._run(model.unload)
        except _USER_ERRORS as error:
            logger.exception("Model %s failed to unload: %s", self.settings.name, error)
        finally:
            if code is not None:
                code.forget()

    # --- inside ---------------------------------------------------------------------------------------------

    def _loaded(self) -> MLModel:
        if self._model is None:
            raise ModelFailed(f"Model {self.settings.name} is not loaded here.")
        return self._model

    def _runner(self, method: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """How to call a method of the model: decided once, from whether it is a coroutine function."""
        if inspect.iscoroutinefunction(method):
            return method
        return functools.partial(self._in_thread, method)

    async def _run(self, method: Callable[..., Any], **arguments: Any) -> Any:
        return await self._runner(method)(**arguments)

    async def _in_thread(self, function: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        context = contextvars.copy_context()
        work = functools.partial(context.run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, _carry, work)

    async def _iterate(self, responses: Any) -> AsyncIterator[Any]:
        if hasattr(responses, "__aiter__"):
            async for response in responses:
                yield response
            return
        iterator = iter(responses)
        end = object()
        while (response := await self._in_thread(next, iterator, end)) is not end:
            yield response

    def _finished(
        self, response: Any, request: InferenceRequest | None, context: CallContext
    ) -> InferenceResponse:
        if not isinstance(response, InferenceResponse):
            method = type(self._loaded()).predict
            code = inspect.unwrap(method).__code__
            raise ModelFailed(
                f"Model {self.settings.name} returned a {type(response).__name__}, not an InferenceResponse "
                f"({method.__qualname__}, {code.co_filename}, line {code.co_firstlineno})."
            )
        response.model_name = self.settings.name
        response.model_version = self.settings.version
        response.id = (request.id if request is not None else None) or context.request_id
        return response

    def _failed(self, error: BaseException, context: CallContext) -> ModelFailed:
        logger.error(
            "Model %s failed on request %s",
            self.settings.name,
            context.request_id,
            exc_info=error,
            extra={
                "request_id": context.request_id,
                "model": self.settings.name,
                "version": self.settings.version,
            },
        )
        return ModelFailed.of(self.settings.name, self.settings.version, error)


class _First:
    """Hands requests on and remembers the first one, whose id all responses of a stream carry."""

    def __init__(self, requests: AsyncIterator[InferenceRequest]) -> None:
        self.request: InferenceRequest | None = None
        self._requests = requests

    def __aiter__(self) -> _First:
        return self

    async def __anext__(self) -> InferenceRequest:
        request = await anext(self._requests)
        if self.request is None:
            self.request = request
        return request


class _Stopped(Exception):
    """Carries a StopIteration out of a thread; a future cannot."""


def _carry(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except StopIteration as error:
        raise _Stopped("StopIteration") from error


async def _not_loaded(request: InferenceRequest) -> Any:
    raise ModelFailed("The model is not loaded here.")


def _module_codecs(code: CustomCode) -> list[CodecOffer]:
    """The codecs that the model's own modules define and registered with a decorator."""
    offers: dict[type, CodecOffer] = {}
    for module in code.modules():
        for value in list(vars(module).values()):
            if isinstance(value, type) and "__mlsrv_codec__" in vars(value):
                if issubclass(value, InputCodec):
                    offers[value] = CodecOffer(value.ContentType, value, "input")
                elif issubclass(value, RequestCodec):
                    offers[value] = CodecOffer(value.ContentType, value, "request")
    return list(offers.values())
