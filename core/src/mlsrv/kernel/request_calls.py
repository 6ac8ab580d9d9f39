"""Request calls: the methods of a kernel that answer requests, in the event loop that it was entered in."""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import AsyncIterator
from typing import Any, overload

from mlsrv.authorization import AccessRequest, Principal
from mlsrv.context import CallContext, new_request_id
from mlsrv.controlplane.registry import Registry
from mlsrv.dataplane.instance import Instance
from mlsrv.dataplane.model_meter import reason_of
from mlsrv.errors import InvalidPayload, MLSrvError, ModelNotReady, ServerNotReady
from mlsrv.handlers import Arguments
from mlsrv.hosting.streams import only, then
from mlsrv.kernel.guard import RequestGuard
from mlsrv.telemetry.error_details import ErrorDetails
from mlsrv.telemetry.kernel_metrics import REJECTED
from mlsrv.telemetry.request_logging import reported
from mlsrv.utils import closing
from mlsrv_protocol.encoded import EncodedRequest, EncodedResponse
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_telemetry_kit.meters import Meters


class RequestCalls:
    """Answers requests with the loaded models.

    Attributes:
        registry: the models.
        guard: decides about each request while the kernel runs, if an authorizer is installed, else None.
        metrics: records requests that no model took.
    """

    registry: Registry
    guard: RequestGuard | None
    metrics: Meters
    _details: ErrorDetails
    _loop: asyncio.AbstractEventLoop | None

    def takes_encoded(self, name: str, version: str | None = None) -> bool:
        """Return whether `infer` takes encoded requests to a model."""
        instance = self.registry.live.get((name, version))
        return instance is not None and instance.takes_encoded

    @overload
    async def infer(
        self, request: InferenceRequest, context: CallContext | None = None
    ) -> InferenceResponse: ...

    @overload
    async def infer(self, request: EncodedRequest, context: CallContext) -> EncodedResponse | None: ...

    async def infer(
        self, request: InferenceRequest | EncodedRequest, context: CallContext | None = None
    ) -> InferenceResponse | EncodedResponse | None:
        """Answer one request to the model that ``request.model_name`` and ``request.model_version`` name.

        The answer to an encoded request is None if it is not valid, or if it is not taken: the bytes of the
        principal are limited, or the model has been replaced. The caller decodes it then.

        Raises:
            MLSrvError: with a transport-neutral code and a sentence for the client; never anything else. The
                log has the traceback then, if the request is not to blame.
        """
        if get_running_loop() is not self._loop:
            self._check_loop()
        if context is None:
            context = CallContext(request_id=request.id or new_request_id())
        if context.principal is not None:
            self._permit(context, context.principal, request.model_name)
        instance = self.registry.live.get((request.model_name, request.model_version))
        if instance is None:
            instance = self._instance(request.model_name, request.model_version)
        if isinstance(request, EncodedRequest) and not (
            instance.takes_encoded and (context.principal is None or _has_no_byte_limit(context.principal))
        ):
            return None
        try:
            return await instance.infer(request, context)
        except Exception as error:
            raise self._details.told(reported(error, context), context)  # noqa: B904  # it is that error, or has it as its cause

    async def stream(
        self, requests: InferenceRequest | AsyncIterator[InferenceRequest], context: CallContext | None = None
    ) -> AsyncIterator[InferenceResponse]:
        """Answer with any number of responses. The first request names the model for the whole stream;
        closing the iterator stops it.

        Raises:
            MLSrvError: as `infer`; before the first response for everything that is known by then.
        """
        self._check_loop()
        given = only(requests) if isinstance(requests, InferenceRequest) else requests
        first = await anext(given, None)
        if first is None:
            raise InvalidPayload("The stream ended before its first request.")
        if context is None:
            context = CallContext(request_id=first.id or new_request_id())
        if context.principal is not None:
            self._permit(context, context.principal, first.model_name)
        instance = self._instance(first.model_name, first.model_version)
        try:
            async with closing(instance.stream(then(first, given), context, first)) as responses:
                async for response in responses:
                    yield response
        except Exception as error:
            raise self._details.told(reported(error, context), context)  # noqa: B904  # it is that error, or has it as its cause

    async def call(
        self,
        name: str,
        version: str | None,
        method: str,
        arguments: Arguments,
        context: CallContext | None = None,
    ) -> Any:
        """Call a custom handler of a model by its attribute name, with arguments or with the request of a
        transport (see `mlsrv.handlers`). Raises as `infer`."""
        self._check_loop()
        context = context or CallContext()
        if context.principal is not None:
            self._permit(context, context.principal, name)
        instance = self._instance(name, version)
        try:
            return await instance.call(method, arguments, context)
        except Exception as error:
            raise self._details.told(reported(error, context), context)  # noqa: B904  # it is that error, or has it as its cause

    def _instance(self, name: str, version: str | None) -> Instance:
        # An empty version is how protobuf says that there is none.
        instance = self.registry.live.get((name, version or None))
        if instance is None:
            raise self._refusal(name, version or None)
        return instance

    def _permit(self, context: CallContext, principal: Principal, model: str) -> None:
        if principal.allows("infer", model):
            return
        access = AccessRequest("infer", context.headers, transport=context.transport)
        if self.guard is not None:
            self.guard.check(access, principal, model)
        else:
            principal.check("infer", model)

    def _refusal(self, name: str, version: str | None) -> MLSrvError:
        error = self.registry.why_not(name, version)
        # Whatever clients ask for must not become a label.
        labels = (name, version or "") if isinstance(error, ModelNotReady) else ("", "")
        self.metrics.record(REJECTED, 1.0, (*labels, reason_of(error)))
        return error

    def _check_loop(self) -> None:
        if get_running_loop() is not self._loop and self._loop is not None:
            if self._loop.is_closed():
                which, advice = "an event loop that has ended", "use it within one asyncio.run()"
            else:
                which, advice = "another event loop", "asyncio.run_coroutine_threadsafe() reaches it there"
            raise ServerNotReady(f"This kernel was entered in {which}; {advice}.")


def _has_no_byte_limit(principal: Principal) -> bool:
    return principal.limits is None or principal.limits.in_flight_bytes is None
