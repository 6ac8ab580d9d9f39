"""One loaded model, in the process where it lives; the same class in every kind of executor."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from contextvars import Token
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from mlsrv.catalog import Catalog
from mlsrv.codecs.arguments import prepare
from mlsrv.codecs.registration import registered_codecs
from mlsrv.context import CallContext, current_context
from mlsrv.custom import CustomCode, current_code
from mlsrv.errors import MLSrvError, ModelFailed, ModelLoadError, Unsupported
from mlsrv.executor import ModelInfo, Placement
from mlsrv.handlers import Arguments, HandlerRequest, Reply
from mlsrv.handling import Handler, compile_handlers
from mlsrv.metrics import ModelMetrics, Record, current_metrics, discard
from mlsrv.model import MLModel
from mlsrv.records import current_fields, fields_of
from mlsrv.settings import ModelSettings
from mlsrv.streams import StreamRequests, ThreadedIterator
from mlsrv.threads import Threads, run_in_own_thread
from mlsrv.timeline import Watch, current_watch
from mlsrv.user_code import Surrounded, Surroundings
from mlsrv.warmup import warm_up_requests
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.strings import fitting_shape
from mlsrv_protocol.types import InferenceRequest, InferenceResponse, MetadataModelResponse, ResponseOutput

logger = logging.getLogger("mlsrv.model")

_END: Any = object()


class ModelHost(Placement):
    """Loads one model and answers for it.

    Args:
        settings: resolved settings, with an ``implementation``.
        catalog: the codecs and runtimes of this process.
        threads: where synchronous ``predict`` methods run; what may take long (load, unload) gets its own
            thread.
        record: where user code's metrics go.
    """

    def __init__(
        self, settings: ModelSettings, catalog: Catalog, threads: Threads, record: Record = discard
    ) -> None:
        self.settings = settings
        self.info = ModelInfo()
        self.metrics = ModelMetrics(settings.name, settings.version, record)
        self._catalog = catalog
        self._threads = threads
        self._model: MLModel | None = None
        self.code: CustomCode | None = None
        self._predict: Callable[[InferenceRequest], Awaitable[Any]] = _not_loaded
        self._handlers: Mapping[str, Handler] = {}
        self.surroundings: Surroundings | None = None

    # --- lifetime -------------------------------------------------------------------------------------------

    async def load(self) -> ModelInfo:
        """Import, make and load the model.

        Raises:
            MLSrvError: in most cases a `ModelLoadError`, with the cause chained. Nothing is left behind.
        """
        token = current_metrics.set(self.metrics)
        try:
            await self._load()
        except MLSrvError:
            await self.unload()
            raise
        except BaseException as error:
            text = self.code.located(error) if self.code is not None else _described(error)
            await self.unload()
            if _means_stop(error):
                raise
            raise ModelLoadError(f"Model {self.settings.name} failed to load: {text}") from error
        finally:
            current_metrics.reset(token)
        return self.info

    async def _load(self) -> None:
        # Importing a framework may take seconds: not on the event loop.
        cls, self.code = await run_in_own_thread(self._catalog.runtime_class, self.settings)
        with self.code.loading() if self.code is not None else nullcontext():
            await self._make(cls)

    async def _make(self, cls: type[MLModel]) -> None:
        name = self.settings.name
        codecs = self._catalog.codecs.child()
        for codec, offer in registered_codecs(_modules(cls, self.code)):
            codecs.add(offer, f"{codec} of model {name}")
        model = cls(self.settings)
        model.bind(codecs)
        if await _off_loop(model.load) is False:
            raise ModelLoadError(
                f"Model {name}: load() of {cls.__qualname__} returned False{_place(cls.load)}."
            )
        self._model = model
        metadata = await _off_loop(model.metadata)
        if not isinstance(metadata, MetadataModelResponse):
            raise ModelLoadError(
                f"Model {name}: metadata() of {cls.__qualname__} returned a {type(metadata).__name__}, "
                f"not a MetadataModelResponse{_place(cls.metadata)}."
            )
        prepare(model)
        handlers = model.custom_handlers()
        self._handlers = compile_handlers(model, handlers)
        model.ready = True
        self._predict = self._runner(model.predict)
        self.surroundings = self._catalog.surroundings(self.settings)
        self.info = ModelInfo(
            platform=metadata.platform,
            versions=tuple(metadata.versions),
            inputs=tuple(metadata.inputs),
            outputs=tuple(metadata.outputs),
            parameters=metadata.parameters,
            check_inputs=bool(self.settings.inputs) or not cls.own_input_checks,
            streams=cls.predict_stream is not MLModel.predict_stream,
            predicts=cls.predict is not MLModel.predict,
            asynchronous=inspect.iscoroutinefunction(model.predict),
            metrics=self.metrics.registered,
            handlers=handlers,
        )
        for request in await warm_up_requests(self.settings, self.info):
            await self._warm_up(request)

    async def _warm_up(self, request: InferenceRequest) -> None:
        context = CallContext()
        try:
            if self.info.predicts:
                await self.infer(request, context)
            else:
                async for _ in self.stream(_once(request), context):
                    pass
        except MLSrvError as error:
            raise ModelLoadError(f"Model {self.settings.name} failed its warm-up: {error}") from error

    async def unload(self) -> None:
        model, self._model = self._model, None
        code, self.code = self.code, None
        self._predict = _not_loaded
        self._handlers = {}
        token = current_metrics.set(self.metrics)
        code_token = current_code.set(code)
        try:
            if model is not None:
                await _off_loop(model.unload)
        except BaseException as error:
            if _means_stop(error):
                raise
            logger.error(
                "Model %s failed to unload", self.settings.name, exc_info=error, extra=current_fields()
            )
        finally:
            current_code.reset(code_token)
            current_metrics.reset(token)
            if code is not None:
                code.forget()

    # --- requests -------------------------------------------------------------------------------------------

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        context.check()
        with _UserCode(self, context):
            response = await self._predict(request)
        return self._finished(response, request, context, MLModel.predict)

    async def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        context.check()
        model = self._loaded()
        if not self.info.streams:
            async for request in requests:
                yield await self.infer(request, context)
            return
        taken = StreamRequests(requests)
        with nullcontext() if self.surroundings is None else self.surroundings.call(context) as around:
            with _UserCode(self, context, around):
                responses = await self._open_stream(model, taken)
            try:
                while True:
                    with _UserCode(self, context, around):
                        response = await anext(responses, _END)
                    if response is _END:
                        return
                    yield self._finished(response, taken.first, context, MLModel.predict_stream)
            finally:
                await self._close_stream(responses, context, around)

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> Any:
        context.check()
        handler = self._handlers.get(method)
        if handler is None:
            raise Unsupported(f"Model {self.settings.name} has no handler {method}.")
        if not isinstance(arguments, HandlerRequest):
            with _UserCode(self, context):
                return await self._runner(handler.method)(**arguments)
        given = handler.arguments(arguments, context)
        with _UserCode(self, context):
            answer = await self._runner(handler.method)(**given)
            return (answer if isinstance(answer, Reply) else Reply(answer)).encoded()

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

    async def _in_thread(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        watch = current_watch.get()
        if watch is None:
            result = await self._threads.run(function, *args, **kwargs)
        else:
            result = await self._threads.run(_watched, watch, function, *args, **kwargs)
        # A plain function around an asynchronous one gives an awaitable, which belongs on the loop.
        return await result if inspect.isawaitable(result) else result

    async def _open_stream(self, model: MLModel, requests: StreamRequests) -> AsyncIterator[Any]:
        method = model.predict_stream
        made: Any
        if inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
            made = method(requests)
        else:
            made = await self._runner(method)(requests)
        if hasattr(made, "__aiter__"):
            return aiter(made)
        if hasattr(made, "__iter__"):
            return ThreadedIterator(made, self._threads)
        raise TypeError(f"predict_stream returned a {type(made).__name__}, which is no iterator")

    async def _close_stream(
        self, responses: AsyncIterator[Any], context: CallContext, around: Surrounded | None
    ) -> None:
        close = getattr(responses, "aclose", None)
        if close is None:
            return
        try:
            with _UserCode(self, context, around):
                await close()
        except MLSrvError as error:
            logger.warning(
                "Model %s failed while a stream was closed",
                self.settings.name,
                exc_info=error.__cause__ or error,
                extra=fields_of(context),
            )

    def _finished(
        self,
        response: Any,
        request: InferenceRequest | None,
        context: CallContext,
        method: Callable[..., Any],
    ) -> InferenceResponse:
        if not isinstance(response, InferenceResponse):
            raise self._wrong_type(response, method.__name__)
        for output in response.outputs:
            if output.datatype is Datatype.BYTES:
                _settle_shape(output)
        # A new message: a model may answer several requests with one object.
        return InferenceResponse(
            self.settings.name,
            response.outputs,
            self.settings.version,
            (request.id if request is not None else None) or context.request_id,
            response.parameters,
        )

    def _wrong_type(self, response: object, name: str) -> ModelFailed:
        method = getattr(type(self._loaded()), name)
        return ModelFailed(
            f"Model {self.settings.name}: {name} returned a {type(response).__name__}, "
            f"not an InferenceResponse{_place(method)}."
        )


class _UserCode:
    """Around a call of user code, or a step of a stream: its context variables, what plugins put around it,
    and the translation of what it raises."""

    __slots__ = ("_around", "_call", "_code", "_context", "_host", "_is_step", "_metrics", "_watch")

    def __init__(self, host: ModelHost, context: CallContext, around: Surrounded | None = None) -> None:
        self._host = host
        self._context = context
        self._around = around
        self._is_step = around is not None

    def __enter__(self) -> None:
        self._metrics = current_metrics.set(self._host.metrics)
        self._call = current_context.set(self._context)
        self._code = current_code.set(self._host.code)
        timeline = self._context.timeline
        self._watch: Token[Watch | None] | None = None
        if timeline is not None or current_watch.get() is not None:
            self._watch = current_watch.set(None if timeline is None else Watch(timeline))
        if self._around is None and self._host.surroundings is not None:
            self._around = self._host.surroundings.call(self._context)
        if self._around is not None:
            self._around.enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._around is not None:
            self._around.leave(kind, error, trace)
            if not self._is_step:
                self._around.__exit__(None, None, None)
        # Set back, for the caller may be the code of another model, or of the embedding application.
        if self._watch is not None:
            if (watch := current_watch.get()) is not None:
                watch.stop()
            current_watch.reset(self._watch)
        current_code.reset(self._code)
        current_context.reset(self._call)
        current_metrics.reset(self._metrics)
        if error is None or isinstance(error, MLSrvError) or _means_stop(error):
            return
        settings = self._host.settings
        raise ModelFailed.of(settings.name, settings.version, error) from error


def _watched(watch: Watch, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function in the thread that it waited for."""
    watch.lap("queue")
    try:
        return function(*args, **kwargs)
    finally:
        watch.stop()


def _means_stop(error: BaseException) -> bool:
    """Whether an exception is not the fault of user code: its task is cancelled or closed, or the process
    ends. Everything else, SystemExit too, fails one request or one load and must not end the server."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() > 0
    return isinstance(error, GeneratorExit | KeyboardInterrupt)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _settle_shape(output: ResponseOutput) -> None:
    """Let the shape of texts count texts, where a model wrote how many characters they have."""
    expected = math.prod(output.shape)
    data = output.data
    if isinstance(data, str | bytes) or (isinstance(data, list) and len(data) != expected):
        try:
            output.shape = fitting_shape(data, output.shape, expected)
        except InvalidPayload:
            return  # whoever writes the response says what does not fit


def _place(method: Callable[..., Any]) -> str:
    """Where a method of user code is written, for the end of a sentence."""
    code = getattr(inspect.unwrap(method), "__code__", None)
    return f" ({Path(code.co_filename).name}, line {code.co_firstlineno})" if code else ""


async def _off_loop(method: Callable[[], Any]) -> Any:
    """Call a method that may take long: a coroutine function on the loop, another one in its own thread."""
    if inspect.iscoroutinefunction(method):
        return await method()
    result = await run_in_own_thread(method)
    return await result if inspect.isawaitable(result) else result


async def _once(request: InferenceRequest) -> AsyncIterator[InferenceRequest]:
    yield request


async def _not_loaded(request: InferenceRequest) -> Any:
    raise ModelFailed("The model is not loaded here.")


def _modules(cls: type[MLModel], code: CustomCode | None) -> list[ModuleType]:
    """Where the model's own codecs are looked for: the folder's modules, and those of its class and its
    bases."""
    modules = code.modules() if code is not None else []
    names = [base.__module__ for base in cls.__mro__ if issubclass(base, MLModel) and base is not MLModel]
    return [*modules, *(sys.modules[name] for name in names if name in sys.modules)]
