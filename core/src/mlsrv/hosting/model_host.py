"""Model host: one loaded model, in the process where its code runs; every executor uses this class."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from types import ModuleType
from typing import Any

from mlsrv.codecs.registration import registered_codecs
from mlsrv.context import Asker, CallContext
from mlsrv.errors import MLSrvError, ModelFailed, ModelLoadError, Unsupported
from mlsrv.handlers import Arguments, HandlerRequest, Handlers, Reply
from mlsrv.hosting.answers import Answers, place_of
from mlsrv.hosting.call_scope import CallScope
from mlsrv.hosting.catalog import Catalog
from mlsrv.hosting.fault import is_shutdown
from mlsrv.hosting.handler_arguments import Handler, compile_handlers
from mlsrv.hosting.streams import StreamRequests, ThreadedIterator, only
from mlsrv.hosting.user_call import SyncCalls, UserCode, UserCodeCall, as_async, predict_as_async, run_once
from mlsrv.hosting.warmup import warm_up_requests
from mlsrv.model import MLModel
from mlsrv.placement import ModelInfo, Placement
from mlsrv.settings import ModelSettings
from mlsrv.telemetry.request_logging import current_fields, fields_of
from mlsrv_hosting_kit import import_lock
from mlsrv_hosting_kit.code_importer import CodeImporter
from mlsrv_hosting_kit.code_snapshot import CodeSnapshot
from mlsrv_hosting_kit.garbage import collect_pending, collect_soon
from mlsrv_hosting_kit.pickle_aliases import current_code
from mlsrv_hosting_kit.threads import Threads, run_in_own_thread
from mlsrv_protocol.errors import text_of
from mlsrv_protocol.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
)
from mlsrv_protocol.workload import holds_many_values
from mlsrv_telemetry_kit.metrics import ModelMetrics, Record, current_metrics, discard

logger = logging.getLogger("mlsrv.model")

_END: Any = object()
_THREAD_BYTES = 2**16
"""Bytes of a handler's body from which it is decoded in a thread."""


class ModelHost(Placement):
    """Loads one model and answers for it.

    Args:
        settings: resolved settings, with an ``implementation``.
        catalog: the codecs and runtimes of this process.
        threads: where synchronous ``predict`` methods run; what may take long (load, unload) gets its own
            thread.
        record: where user code's metrics go.
        snapshot: the code of the model's folder; None imports what is there.
        sync_calls: chooses where a synchronous ``predict`` runs; None for a thread each time.
        asker: takes questions of the code to other models, where the contexts of calls have none.
    """

    def __init__(
        self,
        settings: ModelSettings,
        catalog: Catalog,
        threads: Threads,
        record: Record = discard,
        snapshot: CodeSnapshot | None = None,
        sync_calls: SyncCalls | None = None,
        asker: Asker | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._sync_calls = sync_calls
        self.settings = settings
        self.info = ModelInfo()
        self.metrics = ModelMetrics(settings.name, settings.version, record)
        self._catalog = catalog
        self._threads = threads
        self._model: MLModel | None = None
        self._code = UserCode(settings.name, settings.version, self.metrics, asker)
        self._predict: Callable[[InferenceRequest], Awaitable[Any]] = _not_loaded
        self._answers = Answers(MLModel, settings.name, settings.version)
        self._handlers: Mapping[str, Handler] = {}

    # --- lifetime -------------------------------------------------------------------------------------------

    async def load(self) -> ModelInfo:
        """Import, make and load the model.

        Raises:
            MLSrvError: in most cases a `ModelLoadError`, with the cause chained. Nothing is left behind.
        """
        import_lock.install(_is_code_of_model)
        collect_pending()
        token = current_metrics.set(self.metrics)
        try:
            await self._load()
        except MLSrvError as error:
            await self.unload()
            _mark_quoted(error, f"Model {self.settings.name} failed to load")
            raise
        except BaseException as error:
            modules = self._code.modules
            text = None if modules is None else modules.located(error)
            await self.unload()
            if is_shutdown(error):
                raise
            what = f"Model {self.settings.name} failed to load"
            raise ModelLoadError.of_unexpected(what, error, text) from error
        finally:
            current_metrics.reset(token)
        return self.info

    async def _load(self) -> None:
        # Importing a framework may take seconds: not on the event loop.
        cls, modules = await run_in_own_thread(self._catalog.runtime_class, self.settings, self._snapshot)
        self._code.modules = modules
        with nullcontext() if modules is None else modules.loading():
            await self._make(cls)

    async def _make(self, cls: type[MLModel]) -> None:
        name = self.settings.name
        codecs = self._catalog.codecs.child()
        for codec, offer in registered_codecs(_modules(cls, self._code.modules)):
            codecs.add(offer, f"{codec} of model {name}")
        model = cls(self.settings)
        model.bind(codecs)
        vars(model).pop("ready", None)  # so that it is there again only if `load` sets it
        answer = await run_once(model.load)
        if _is_false(answer):
            raise ModelLoadError(
                f"Model {name}: load() of {cls.__qualname__} returned {answer!r:.60}{place_of(cls.load)}."
            )
        if not vars(model).get("ready", True):
            raise ModelLoadError(
                f"Model {name}: load() of {cls.__qualname__} left ready = False{place_of(cls.load)}."
            )
        self._model = model
        metadata = await run_once(model.metadata)
        if not isinstance(metadata, MetadataModelResponse):
            raise ModelLoadError(
                f"Model {name}: metadata() of {cls.__qualname__} returned a {type(metadata).__name__}, "
                f"not a MetadataModelResponse{place_of(cls.metadata)}."
            )
        # The annotations of `decode_args`: mistakes show when the model is loaded.
        plans = [
            method.__mlsrv_prepare__(model)
            for method in (model.predict, model.predict_stream)
            if hasattr(method, "__mlsrv_prepare__")
        ]
        handlers = model.custom_handlers()
        self._handlers = compile_handlers(model, handlers)
        model.ready = True
        self._predict = predict_as_async(model.predict, self._threads, name, self._sync_calls)
        self._code.scopes = self._catalog.scopes(self.settings)
        self.info = self._info_of(model, metadata, handlers, plans)
        self._answers = Answers(cls, name, self.settings.version, self.info.outputs)
        for request in await warm_up_requests(self.settings, self.info, codecs.sample):
            await self._warm_up(request)

    def _info_of(
        self, model: MLModel, metadata: MetadataModelResponse, handlers: Handlers, plans: Sequence[Any]
    ) -> ModelInfo:
        cls = type(model)
        enforced = cls.enforces_metadata or self.settings.sets("check_inputs")
        annotated = plans[0] if plans and not metadata.inputs else None
        checked = bool(self.settings.inputs) or not (cls.own_input_checks or annotated)
        return ModelInfo(
            platform=metadata.platform,
            versions=tuple(metadata.versions),
            inputs=tuple(metadata.inputs if annotated is None else annotated.inputs),
            outputs=tuple(metadata.outputs or (() if annotated is None else annotated.outputs)),
            parameters=metadata.parameters,
            check_inputs=enforced and checked,
            check_outputs=enforced,
            streams=cls.predict_stream is not MLModel.predict_stream,
            predicts=cls.predict is not MLModel.predict,
            asynchronous=inspect.iscoroutinefunction(model.predict),
            metrics=self.metrics.registered,
            handlers=handlers,
        )

    async def _warm_up(self, request: InferenceRequest) -> None:
        context = CallContext()
        try:
            if self.info.predicts:
                await self.infer(request, context)
            else:
                async for _ in self.stream(only(request), context):
                    pass
        except MLSrvError as error:
            what = f"Model {self.settings.name} failed its warm-up"
            failure = ModelLoadError(f"{what}: {error}")
            if isinstance(error, ModelFailed) and error.raised:
                failure.what, failure.raised = what, error.raised
            raise failure from error

    async def unload(self) -> None:
        model, self._model = self._model, None
        modules, self._code.modules = self._code.modules, None
        self._predict = _not_loaded
        self._answers = Answers(MLModel, self.settings.name, self.settings.version)
        self._handlers = {}
        token = current_metrics.set(self.metrics)
        modules_token = current_code.set(modules)
        try:
            if model is not None:
                await run_once(model.unload)
        except BaseException as error:
            if is_shutdown(error):
                raise
            logger.error(
                "Model %s failed to unload", self.settings.name, exc_info=error, extra=current_fields()
            )
        finally:
            current_code.reset(modules_token)
            current_metrics.reset(token)
            if modules is not None:
                modules.forget()
            collect_soon()

    # --- requests -------------------------------------------------------------------------------------------

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        context.check()
        with UserCodeCall(self._code, context):
            response = await self._predict(request)
        return self._answers.finished(response, request, context, MLModel.predict)

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
        scopes = self._code.scopes
        with nullcontext() if scopes is None else scopes.call(context) as around:
            with UserCodeCall(self._code, context, around):
                responses = await self._open_stream(model, taken)
            try:
                is_first = True
                while True:
                    with UserCodeCall(self._code, context, around):
                        response = await anext(responses, _END)
                    if response is _END:
                        return
                    yield self._answers.finished(
                        response, taken.first, context, MLModel.predict_stream, is_first
                    )
                    is_first = False
            finally:
                await self._close_stream(responses, context, around)

    async def call(self, method: str, arguments: Arguments, context: CallContext) -> Any:
        context.check()
        handler = self._handlers.get(method)
        if handler is None:
            raise Unsupported(f"Model {self.settings.name} has no handler {method}.")
        if not isinstance(arguments, HandlerRequest):
            with UserCodeCall(self._code, context):
                return await as_async(handler.method, self._threads)(**arguments)
        if len(arguments.body) < _THREAD_BYTES:
            given = handler.arguments(arguments, context)
        else:
            given = await asyncio.to_thread(handler.arguments, arguments, context)
        with UserCodeCall(self._code, context):
            answer = await as_async(handler.method, self._threads)(**given)
            reply = answer if isinstance(answer, Reply) else Reply(answer)
            return (
                await asyncio.to_thread(reply.encoded) if holds_many_values(reply.body) else reply.encoded()
            )

    # --- inside ---------------------------------------------------------------------------------------------

    def _loaded(self) -> MLModel:
        if self._model is None:
            raise ModelFailed(f"Model {self.settings.name} is not loaded here.")
        return self._model

    async def _open_stream(self, model: MLModel, requests: StreamRequests) -> AsyncIterator[Any]:
        method = model.predict_stream
        made: Any
        if inspect.isasyncgenfunction(method) or inspect.isgeneratorfunction(method):
            made = method(requests)
        else:
            made = await as_async(method, self._threads)(requests)
        if hasattr(made, "__aiter__"):
            return aiter(made)
        if hasattr(made, "__iter__"):
            return ThreadedIterator(made, self._threads)
        raise TypeError(f"predict_stream returned a {type(made).__name__}, which is no iterator")

    async def _close_stream(
        self, responses: AsyncIterator[Any], context: CallContext, around: CallScope | None
    ) -> None:
        close = getattr(responses, "aclose", None)
        if close is None:
            return
        try:
            with UserCodeCall(self._code, context, around):
                await close()
        except MLSrvError as error:
            logger.warning(
                "Model %s failed while a stream was closed",
                self.settings.name,
                exc_info=error.__cause__ or error,
                extra=fields_of(context),
            )


def _mark_quoted(error: MLSrvError, what: str) -> None:
    """Mark the error of a load that quotes an exception of other code in its own sentence."""
    cause = error.__cause__
    if not isinstance(error, ModelLoadError) or error.raised or isinstance(cause, MLSrvError | None):
        return
    quoted = text_of(cause)
    if quoted and quoted in str(error):
        error.what, error.raised = what, type(cause).__name__


def _is_code_of_model() -> bool:
    return current_metrics.get() is not None


def _is_false(answer: object) -> bool:
    """Return True if the answer of `load` says that the model cannot be used."""
    try:
        return answer is not None and not answer
    except Exception:  # an array is neither true nor false, and no refusal
        return False


async def _not_loaded(request: InferenceRequest) -> Any:
    raise ModelFailed("The model is not loaded here.")


def _modules(cls: type[MLModel], code: CodeImporter | None) -> list[ModuleType]:
    """Return the modules with the model's own codecs: the folder's, and those of its class and bases."""
    modules = code.modules() if code is not None else []
    names = [base.__module__ for base in cls.__mro__ if issubclass(base, MLModel) and base is not MLModel]
    return [*modules, *(sys.modules[name] for name in names if name in sys.modules)]
