"""Errors: those that models raise, each with the status of HTTP that the client gets."""

from __future__ import annotations

__all__ = [
    "InferenceError",
    "InvalidModelURI",
    "MLServerError",
    "ModelNotFound",
    "ModelNotReady",
    "ModelParametersMissing",
]


class MLServerError(Exception):
    """An error with a sentence for the client.

    Args:
        msg: the sentence.
        status_code: of the response over HTTP.
    """

    def __init__(self, msg: str, status_code: int = 400) -> None:
        super().__init__(msg)
        self.status_code = int(status_code)


class InvalidModelURI(MLServerError):
    """``parameters.uri`` of a model leads nowhere."""

    def __init__(self, name: str, model_uri: str | None = None) -> None:
        what = f"the URI {model_uri!r} leads to no artifact" if model_uri else "it has no parameters.uri"
        super().__init__(f"Model {name}: {what}.", 422)


class ModelNotFound(MLServerError):
    """A model, or a version of it, is unknown."""

    def __init__(self, name: str, version: str | None = None) -> None:
        super().__init__(f"Model {name}{f' with version {version}' if version else ''} not found", 404)


class ModelNotReady(MLServerError):
    """A model is not loaded."""

    def __init__(self, name: str, version: str | None = None) -> None:
        super().__init__(f"Model {name}{f' with version {version}' if version else ''} is not ready", 400)


class InferenceError(MLServerError):
    """A model cannot answer this request."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg, 400)


class ModelParametersMissing(MLServerError):
    """The settings of a model lack its parameters."""

    def __init__(self, model_name: str, reason: str | None = None) -> None:
        super().__init__(f"Model {model_name} has no parameters{f': {reason}' if reason else ''}.")
