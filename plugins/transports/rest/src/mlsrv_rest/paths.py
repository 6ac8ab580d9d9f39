"""Paths: split into decoded segments, so that an encoded slash stays inside its segment."""

from __future__ import annotations

from urllib.parse import unquote

from mlsrv_rest.asgi import Scope
from mlsrv_rest.errors import HTTPProblem

_MODELS = ["", "v2", "models"]


def split(scope: Scope, prefix: list[str]) -> list[str]:
    """Return the decoded segments of a request's path below the application.

    Removes the ``root_path`` of the scope, under which the application is mounted, then `prefix`, under which
    a proxy publishes it, if present. The first segment is empty, as every path begins with a slash; a slash
    at the end is ignored.

    Raises:
        HTTPProblem: a percent-encoding is not UTF-8 text.
    """
    raw: bytes = scope.get("raw_path") or b""
    if b"%" in raw:
        try:
            segments = [unquote(segment, errors="strict") for segment in raw.decode("latin-1").split("/")]
        except UnicodeDecodeError:
            raise HTTPProblem(400, "The path is not valid UTF-8 after percent-decoding.") from None
    else:
        segments = scope["path"].split("/")
    root: str = scope.get("root_path") or ""
    if root:
        segments = _below(segments, root.rstrip("/").split("/"))
    if prefix:
        segments = _below(segments, prefix)
    if not segments[-1] and len(segments) > 2:
        segments.pop()
    return segments


def _below(segments: list[str], prefix: list[str]) -> list[str]:
    return ["", *(segments[len(prefix) :] or [""])] if segments[: len(prefix)] == prefix else segments


def infer_target(segments: list[str]) -> tuple[str, str | None] | None:
    """Return the model and the version of an inference path, or None for any other path."""
    if segments[-1] != "infer" or segments[:3] != _MODELS or not segments[3]:
        return None
    if len(segments) == 5:
        return segments[3], None
    if len(segments) == 7 and segments[4] == "versions" and segments[5]:
        return segments[3], segments[5]
    return None


def infer_route(version: str | None) -> str:
    """Return the inference path with placeholders for model and version."""
    return "/v2/models/{model}/infer" if version is None else "/v2/models/{model}/versions/{version}/infer"


def join(segments: list[str]) -> str:
    """Return a path for a router: decoded, except for slashes inside a segment."""
    return "/".join([segment.replace("/", "%2F") for segment in segments])
