"""Routes: the paths of OpenAI's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mlsrv.authorization import AccessRequest, requires
from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, ModelNotFound
from mlsrv.kernel_api import KernelAPI
from mlsrv.types import InferenceRequest, State
from mlsrv_openai import answers
from mlsrv_openai.body import flag, messages, model_of, sampling, text, texts, whole
from mlsrv_openai.errors import BadField
from mlsrv_openai.event_stream import EventStream
from mlsrv_openai.tensors import Piece, Roles, array_of, counted, piece_of
from mlsrv_protocol.bodies import SLOW_BYTES
from mlsrv_protocol.json import decode_json_object, dumps
from mlsrv_protocol.workload import holds_many_values

CALL = "mlsrv_rest.call"
"""Key of the scope: the call of REST, which begins contexts and waits for models."""
PRINCIPAL = "mlsrv.principal"
MOST_TEXTS = 2048
"""Texts that one request may have embedded, or ranked."""
_MOST_PROMPTS = 32


class OpenAI:
    """Endpoints over the models of a kernel, as far as their tensors allow."""

    def __init__(self, kernel: KernelAPI) -> None:
        self._kernel = kernel
        self._started = int(time.time())

    def routes(self) -> list[Route]:
        """Return the routes of all endpoints."""
        return [
            Route("/v1/models", self.models),
            Route("/v1/models/{model}", self.model),
            Route("/v1/embeddings", self.embeddings, methods=["POST"]),
            Route("/v1/completions", self.completions, methods=["POST"]),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/rerank", self.rerank, methods=["POST"]),
        ]

    # --- models ---------------------------------------------------------------------------------------------

    @requires("metadata")
    async def models(self, request: Request) -> Response:
        """Answer the models that these routes can use."""
        names = self._kernel.model_names()
        principal = request.scope.get(PRINCIPAL)
        if principal is not None:
            names = principal.visible("metadata", names)
        return JSONResponse(
            {"object": "list", "data": [self._described(name) for name in names if self._is_useful(name)]}
        )

    @requires("metadata")
    async def model(self, request: Request) -> Response:
        """Answer one model."""
        name = request.path_params["model"]
        self._kernel.handle(name)
        return JSONResponse(self._described(name))

    def _is_useful(self, name: str) -> bool:
        try:
            handle = self._kernel.handle(name)
        except ModelNotFound:  # unloaded meanwhile
            return False
        return handle.state is State.READY and Roles.of(self._kernel.model_metadata(name)).is_useful

    def _described(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "mlsrv"}

    # --- vectors and scores ---------------------------------------------------------------------------------

    @requires("infer")
    async def embeddings(self, request: Request) -> Response:
        """Answer the vectors of texts."""
        body = await _body(request)
        model, inputs = model_of(body), texts(body, "input", MOST_TEXTS)
        form = body.get("encoding_format") or "float"
        if form not in ("float", "base64"):
            raise BadField.of("encoding_format", "must be float or base64")
        dimensions = whole(body, "dimensions", 1, 2**20)
        roles = self._roles(request, model)
        response = await self._infer(request, roles.embedding(inputs))
        found = array_of(response, roles.vector, len(inputs), model)
        if found.ndim != 2:
            raise InferenceError(
                f"Model {model}: its output {roles.vector} has not one vector for each text."
            )
        if dimensions is not None and dimensions > found.shape[1]:
            raise BadField.of("dimensions", f"must be at most {found.shape[1]}, the size of the vectors")

        def written() -> Response:
            body = {
                "object": "list",
                "data": answers.vectors(found, form == "base64", dimensions),
                "model": model,
                "usage": answers.usage(counted(response)),
            }
            return Response(dumps(body), media_type="application/json")

        return await asyncio.to_thread(written) if holds_many_values(found) else written()

    @requires("infer")
    async def rerank(self, request: Request) -> Response:
        """Answer how well documents fit a query, the best first."""
        body = await _body(request)
        model, query = model_of(body), text(body, "query")
        documents = body.get("documents")
        if isinstance(documents, list):
            documents = [one.get("text") if isinstance(one, dict) else one for one in documents]
        found = texts({"documents": documents}, "documents", MOST_TEXTS)
        count = whole(body, "top_n", 1, 2**31 - 1)
        shows = flag(body, "return_documents")
        response = await self._infer(request, self._roles(request, model).ranking(query, found))
        scores = array_of(response, "scores", len(found), model).reshape(-1)
        results = []
        for index in np.argsort(-scores, kind="stable")[:count].tolist():
            shown = {"document": {"text": found[index]}} if shows else {}
            results.append({"index": index, "relevance_score": float(scores[index]), **shown})
        return JSONResponse({"model": model, "results": results, "usage": answers.usage(counted(response))})

    # --- texts ----------------------------------------------------------------------------------------------

    @requires("infer")
    async def chat(self, request: Request) -> Response:
        """Answer the next message of a conversation."""
        body = await _body(request)
        limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
        parameters = sampling(body, limit)
        top = whole(body, "top_logprobs", 0, 20)
        if flag(body, "logprobs"):
            parameters["logprobs"] = top or 0
        elif top:
            raise BadField.of("top_logprobs", 'needs "logprobs" to be true')
        model, conversation = model_of(body), messages(body)
        asked = self._roles(request, model).generation(None, conversation, parameters)
        return await self._texts(request, body, [asked])

    @requires("infer")
    async def completions(self, request: Request) -> Response:
        """Answer the texts that follow prompts."""
        body = await _body(request)
        parameters = sampling(body, "max_tokens")
        if (logprobs := whole(body, "logprobs", 0, 5)) is not None:
            parameters["logprobs"] = logprobs
        prompts = texts(body, "prompt", _MOST_PROMPTS)
        roles = self._roles(request, model_of(body))
        asked = [roles.generation(prompt, None, parameters) for prompt in prompts]
        return await self._texts(request, body, asked, prompts if flag(body, "echo") else None)

    async def _texts(
        self,
        request: Request,
        body: dict[str, Any],
        asked: list[InferenceRequest],
        echoed: list[str] | None = None,
    ) -> Response:
        roles = self._roles(request, model_of(body))
        is_chat = echoed is None and "messages" in body
        context = _begin(request)
        prefix = "chatcmpl-" if is_chat else "cmpl-"
        frame = answers.Frame(f"{prefix}{context.request_id}", roles.name, int(time.time()), is_chat)
        if flag(body, "stream"):
            options = body.get("stream_options") or {}
            if not isinstance(options, dict):
                raise BadField.of("stream_options", "must be an object")
            if len(asked) > 1:
                raise BadField.of("prompt", "must be a single text in a stream")
            responses = self._pieces(roles, asked[0], context)
            echo = echoed[0] if echoed else ""
            return await EventStream.begun(
                request.scope[CALL], context, responses, frame, echo, flag(options, "include_usage")
            )
        call = request.scope[CALL]
        choices, prompt, completion = [], 0, 0
        for index, one in enumerate(asked):
            pieces = await call.wait_for(context, _all(self._pieces(roles, one, context)))
            told = [token for piece in pieces for token in piece.logprobs]
            made = (echoed[index] if echoed else "") + "".join(piece.text for piece in pieces)
            choices.append(frame.whole(index, made, pieces[-1].reason if pieces else "", told))
            prompt += (pieces[-1].prompt_tokens if pieces else 0) or 0
            completion += (pieces[-1].completion_tokens if pieces else 0) or 0
        return JSONResponse({**frame.body(choices), "usage": answers.usage(prompt, completion)})

    async def _pieces(
        self, roles: Roles, asked: InferenceRequest, context: CallContext
    ) -> AsyncIterator[Piece]:
        """Yield the pieces of a text: many of a model that streams, else one."""
        if not self._kernel.handle(roles.name).loaded().placement.info.streams:
            yield piece_of(roles, await self._kernel.infer(asked, context))
            return
        responses = self._kernel.stream(asked, context)
        async with aclosing(responses):  # type: ignore[type-var]  # an async generator
            async for response in responses:
                yield piece_of(roles, response)

    # --- inside ---------------------------------------------------------------------------------------------

    def _roles(self, request: Request, model: str) -> Roles:
        """Return the roles of a model's tensors, once it is clear that the principal may ask it: others must
        not find out what there is."""
        guard, principal = self._kernel.guard, request.scope.get(PRINCIPAL)
        if guard is not None and principal is not None:
            peer = request.client.host if request.client is not None else ""
            access = AccessRequest("infer", {}, model, "rest", f"POST {request.url.path}", peer)
            guard.check(access, principal, model)
        return Roles.of(self._kernel.model_metadata(model))

    async def _infer(self, request: Request, asked: InferenceRequest) -> Any:
        context = _begin(request)
        return await request.scope[CALL].wait_for(context, self._kernel.infer(asked, context))


def _begin(request: Request) -> CallContext:
    context: CallContext = request.scope[CALL].begin(dict(request.headers))
    return context


async def _body(request: Request) -> dict[str, Any]:
    body = await request.body()
    if len(body) < SLOW_BYTES:
        return decode_json_object(body)
    return await asyncio.to_thread(decode_json_object, body)


async def _all(pieces: AsyncIterator[Piece]) -> list[Piece]:
    async with aclosing(pieces):  # type: ignore[type-var]  # an async generator
        return [piece async for piece in pieces]
