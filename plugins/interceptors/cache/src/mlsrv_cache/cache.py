"""Cache: the interceptor that keeps responses."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import ClassVar

from mlsrv.context import CallContext
from mlsrv.interceptor import CallNext, Duration, Interceptor, Phase
from mlsrv.kernel_api import Metrics
from mlsrv_cache.content import content_key, copy_of, is_slow, size_of
from mlsrv_cache.metrics import CACHE_HITS, CACHE_MISSES
from mlsrv_cache.noted_headers import noting
from mlsrv_cache.settings import CacheSettings
from mlsrv_protocol.types import InferenceRequest, InferenceResponse

logger = logging.getLogger("mlsrv.cache")


class ResponseCache(Interceptor):
    """Keeps the responses of one instance of a model and evicts the least recently used first.

    A reload makes a new instance, so it starts with an empty cache. Equal requests that arrive while the
    first of them is being answered wait for its answer. Headers of responses are not kept.

    Args:
        model: name of the model.
        version: its version, or None.
        settings: limits of the cache.
        meters: record hits and misses.
        vary: names of request headers that the answers depend on.

    Attributes:
        hits: requests that were answered from memory.
        misses: requests that the model answered.
    """

    phase: ClassVar[Phase] = Phase.CACHE

    def __init__(
        self,
        model: str,
        version: str | None,
        settings: CacheSettings,
        meters: Metrics,
        vary: Sequence[str] = (),
    ) -> None:
        self._vary = sorted({name.lower() for name in vary})
        self._model = model
        # Where some are named, the author has thought of them.
        self._notes_headers = not self._vary
        self.hits = 0
        self.misses = 0
        self._hit = meters.bind(CACHE_HITS, (model, version or ""))
        self._missed = meters.bind(CACHE_MISSES, (model, version or ""))
        self._entries: OrderedDict[bytes, tuple[InferenceResponse, int]] = OrderedDict()
        self._bytes = 0
        self._max_entries = settings.cache_size
        self._max_bytes = settings.cache_max_bytes
        self._computing: dict[bytes, asyncio.Future[InferenceResponse | None]] = {}

    async def __call__(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        if is_slow(request):
            key = await asyncio.to_thread(content_key, request, context, self._vary)
        else:
            key = content_key(request, context, self._vary)
        while True:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                return self._answer_from(entry[0], request, context)
            computing = self._computing.get(key)
            if computing is None:
                return await self._compute(key, request, context, call_next)
            # Shielded: a cancelled request stops its own wait only.
            found = await asyncio.shield(computing)
            if found is not None:
                return self._answer_from(found, request, context)
            # The computing request was cancelled or failed: the next waiting request runs the model itself.

    @property
    def stored_bytes(self) -> int:
        """Bytes of the stored tensors."""
        return self._bytes

    def statistics(self) -> Mapping[str, Duration]:
        return {"cache_hit": Duration(self.hits), "cache_miss": Duration(self.misses)}

    def __len__(self) -> int:
        return len(self._entries)

    async def _compute(
        self, key: bytes, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        self.misses += 1
        self._missed(1.0)
        computing: asyncio.Future[InferenceResponse | None] = asyncio.get_running_loop().create_future()
        self._computing[key] = computing
        stored: InferenceResponse | None = None
        try:
            if self._notes_headers:
                response = await self._noting(request, context, call_next)
            else:
                response = await call_next(request, context)
            if is_slow(response):
                copy, size = await asyncio.to_thread(_copied, response)
            else:
                copy, size = _copied(response)
            stored = copy
            self._store(key, copy, size)
            return response
        finally:
            del self._computing[key]
            computing.set_result(stored)

    async def _noting(
        self, request: InferenceRequest, context: CallContext, call_next: CallNext
    ) -> InferenceResponse:
        """Let the model answer; warn once if its code reads headers, which the key of an answer has not."""
        with noting(request, context) as noted:
            response = await call_next(request, context)
        if self._notes_headers and any(headers.were_read for headers in noted):
            self._notes_headers = False
            logger.warning(
                "Model %s reads headers of its requests, and cache_vary names none: requests that differ in "
                "them alone get the same answer. Name them in cache_vary, or leave out the cache",
                self._model,
            )
        return response

    def _answer_from(
        self, stored: InferenceResponse, request: InferenceRequest, context: CallContext
    ) -> InferenceResponse:
        self.hits += 1
        self._hit(1.0)
        response = copy_of(stored, copy_data=False)
        response.id = request.id or context.request_id
        return response

    def _store(self, key: bytes, response: InferenceResponse, size: int) -> None:
        if size > self._max_bytes or self._max_entries < 1:
            return
        self._entries[key] = (response, size)
        self._bytes += size
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            _, (_, evicted_size) = self._entries.popitem(last=False)
            self._bytes -= evicted_size


def _copied(response: InferenceResponse) -> tuple[InferenceResponse, int]:
    """Return a copy of a response to keep, and its size."""
    copy = copy_of(response, copy_data=True)
    return copy, size_of(copy)
