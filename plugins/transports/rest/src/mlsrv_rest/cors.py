"""CORS: cross-origin requests, with refusals in the protocol's error form."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from mlsrv_protocol.json import encode_error
from mlsrv_rest.settings import CORSSettings


class CORS(CORSMiddleware):
    """Starlette's middleware, with refusals in the protocol's error form."""

    def __init__(self, app: ASGIApp, settings: CORSSettings) -> None:
        super().__init__(
            app,
            allow_origins=settings.allow_origins,
            allow_origin_regex=settings.allow_origin_regex,
            allow_credentials=settings.allow_credentials,
            allow_methods=settings.allow_methods,
            allow_headers=settings.allow_headers,
            expose_headers=settings.expose_headers,
            max_age=settings.max_age,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code == 200:
            return response
        kept = {
            name: value
            for name, value in response.headers.items()
            if name not in ("content-length", "content-type")
        }
        text = bytes(response.body).decode()
        return Response(encode_error(text), response.status_code, kept, media_type="application/json")
