"""Remote: a model behind the infer endpoint of another server, asked over HTTP."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from mlsrv.context import CallContext
from mlsrv.errors import InferenceError, ModelAnswered, ModelLoadError
from mlsrv.types import InferenceRequest, InferenceResponse
from mlsrv_protocol import json

SKIP_LOGGING = {"Seldon-Skip-Logging": "true"}
"""Keeps questions of explainers out of Seldon's log of requests."""

TIMEOUT = 60.0
"""Seconds for one question of a request without a deadline."""


class Remote:
    """A model of another server.

    Args:
        uri: its infer endpoint, ``http://…/v2/models/NAME/infer``.
        authorities: file or folder with certificates of authorities to trust; empty for those of the system.

    Raises:
        ModelLoadError: the certificates cannot be read.
    """

    def __init__(self, uri: str, authorities: str) -> None:
        self._uri = uri
        self._names: tuple[str, str] | None = None
        try:
            is_folder = Path(authorities).is_dir()
            self._tls = (
                ssl.create_default_context(
                    cafile=None if is_folder else authorities, capath=authorities if is_folder else None
                )
                if authorities
                else ssl.create_default_context()
            )
        except (OSError, ssl.SSLError) as error:
            raise ModelLoadError(
                f"parameters.extra.ssl_verify_path {authorities} cannot be read as certificates: {error}."
            ) from error

    def input_name(self, context: CallContext) -> str:
        """Return the name of the model's first input; empty if its server does not tell."""
        return self._metadata(context)[0]

    def output_name(self, context: CallContext) -> str:
        """Return the name of the model's first output; empty if its server does not tell."""
        return self._metadata(context)[1]

    def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        """Return the answer to a request.

        Raises:
            InferenceError: the model refuses it.
            ModelAnswered: its server cannot be reached, or fails.
        """
        body = self._call(self._uri, json.encode_request(request), context)
        try:
            return json.decode_response(body)
        except ValueError as error:
            raise ModelAnswered(f"{self._uri} did not answer in the protocol: {error}", 502) from error

    def _metadata(self, context: CallContext) -> tuple[str, str]:
        # Pipelines of Seldon Core 2 have no metadata.
        if self._names is None and "/v2/pipelines/" not in self._uri:
            found = json.loads(self._call(self._uri.removesuffix("/infer"), None, context))
            if not isinstance(found, dict):
                raise ModelAnswered(f"{self._uri} has no metadata of a model.", 502)
            first = [(found.get(key) or [{}])[0].get("name", "") for key in ("inputs", "outputs")]
            self._names = str(first[0]), str(first[1])
        return self._names or ("", "")

    def _call(self, url: str, body: bytes | None, context: CallContext) -> bytes:
        headers = {"Content-Type": "application/json", **SKIP_LOGGING}
        request = urllib.request.Request(url, body, headers)
        left = context.remaining
        try:
            with urllib.request.urlopen(
                request, timeout=TIMEOUT if left is None else left, context=self._tls
            ) as found:
                answer: bytes = found.read()
                return answer
        except urllib.error.HTTPError as error:
            text = error.read(1000).decode(errors="replace")
            if 400 <= error.code < 500:
                raise InferenceError(f"{url} refuses the question ({error.code}): {text}") from error
            raise ModelAnswered(f"{url} answered {error.code}: {text}", 502) from error
        except (OSError, HTTPException) as error:
            context.check()
            reason = getattr(error, "reason", error)
            raise ModelAnswered(f"{url} cannot be reached: {reason}.", 502) from error
