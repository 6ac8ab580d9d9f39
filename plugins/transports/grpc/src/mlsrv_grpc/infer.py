"""ModelInfer: the hot path, from bytes to bytes without message objects."""

from __future__ import annotations

from mlsrv.authorization import requires
from mlsrv.context import CallContext
from mlsrv.kernel_api import KernelAPI
from mlsrv_grpc.call_context import ContextFactory, pop_empty_final
from mlsrv_grpc.metadata import trailing_metadata
from mlsrv_grpc.status import Rpc, refuse
from mlsrv_grpc.threaded_codec import decode, encode


class Infer:
    """Answers a request with a response, which is typed or raw as the request is."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel

    @requires("infer")
    async def __call__(self, body: bytes, rpc: Rpc) -> bytes:
        context: CallContext | None = None
        try:
            request, typed = await decode(body)
            pop_empty_final(request)
            context = ContextFactory(rpc).context(request)
            response = await self._kernel.infer(request, context)
            parameters = response.parameters
            if parameters is not None and parameters.headers:
                rpc.set_trailing_metadata(tuple(trailing_metadata(parameters.headers).items()))
            return await encode(response, typed)
        except Exception as error:
            problem = error
        await refuse(rpc, problem, context)
