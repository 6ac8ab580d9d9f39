"""Errors: the tree of all errors that mlsrv raises on purpose.

Each class carries a transport-neutral `Code`; a transport maps the code, never the class::

    MLSrvError                      INTERNAL           root of all
    ├── InvalidPayload              INVALID_ARGUMENT   a message breaks the protocol (mlsrv_protocol)
    ├── InferenceError              INVALID_ARGUMENT   the model refuses the request
    │   ├── CodecError              INVALID_ARGUMENT   a payload cannot be decoded or encoded
    │   ├── CodecNotFound           INVALID_ARGUMENT   no codec for a content type or a Python type
    │   ├── InputsNotFound          INVALID_ARGUMENT   inputs are missing or unknown
    │   └── OutputNotFound          INVALID_ARGUMENT   a requested output does not exist
    ├── ModelNotFound               NOT_FOUND          unknown model or version
    ├── ModelNotReady               NOT_READY          known, but not loaded (yet)
    ├── ServerNotReady              NOT_READY          the server is starting or stopping
    ├── Overloaded                  OVERLOADED         a bounded queue is full
    │   └── RateLimited             RATE_LIMITED       a client asks more often than it may
    ├── Unauthenticated             UNAUTHENTICATED    credentials are missing or wrong
    ├── PermissionDenied            PERMISSION_DENIED  the principal lacks the right
    ├── TooLarge                    TOO_LARGE          a request is over the size limit
    ├── DeadlineExceeded            DEADLINE_EXCEEDED  the time that the client gave has passed
    ├── RequestCancelled            CANCELLED          the client went away
    ├── Unsupported                 UNIMPLEMENTED      the model or the server cannot do this
    ├── ModelAnswered               INTERNAL           an error and a status that a model chose
    ├── ModelFailed                 INTERNAL           user code raised while it served a request
    ├── ModelLoadError              INTERNAL           a model cannot be loaded
    │   ├── InvalidModelURI         INTERNAL           ``parameters.uri`` leads nowhere
    │   ├── ModelParametersMissing  INTERNAL           a runtime needs a parameter that is not set
    │   └── ModelsFailed            INTERNAL           models of the start failed, and the server gives up
    ├── RepositoryError             INTERNAL           the model repository cannot be read
    └── ConfigurationError          INVALID_ARGUMENT   settings are wrong (mlsrv_settings_kit)
        ├── PluginError             INVALID_ARGUMENT   a plugin that is needed failed to load
        └── OfferClash              INVALID_ARGUMENT   two plugins offer the same name
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

from mlsrv_protocol.errors import (
    Code,
    DeadlineExceeded,
    InvalidPayload,
    MLSrvError,
    ModelNotFound,
    ModelNotReady,
    Overloaded,
    PermissionDenied,
    RateLimited,
    RequestCancelled,
    ServerNotReady,
    TooLarge,
    Unauthenticated,
    Unsupported,
    model_of,
    text_of,
)
from mlsrv_settings_kit.errors import ConfigurationError
from mlsrv_settings_kit.hints import explain_codec
from mlsrv_settings_kit.known_plugins import class_names

__all__ = [
    "Code",
    "CodecError",
    "CodecNotFound",
    "ConfigurationError",
    "DeadlineExceeded",
    "InferenceError",
    "InputsNotFound",
    "InvalidModelURI",
    "InvalidPayload",
    "MLSrvError",
    "ModelAnswered",
    "ModelFailed",
    "ModelLoadError",
    "ModelNotFound",
    "ModelNotReady",
    "ModelParametersMissing",
    "ModelsFailed",
    "OfferClash",
    "OutputNotFound",
    "Overloaded",
    "PermissionDenied",
    "PluginError",
    "RateLimited",
    "RepositoryError",
    "RequestCancelled",
    "ServerNotReady",
    "TooLarge",
    "Unauthenticated",
    "Unsupported",
]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


class InferenceError(MLSrvError):
    """The request is well-formed, but this model cannot answer it. Runtimes raise it with their own
    sentence."""

    code = Code.INVALID_ARGUMENT


class CodecError(InferenceError):
    """A payload cannot be decoded or encoded by the codec that applies to it."""


class CodecNotFound(InferenceError):
    """No codec is known for a content type, or for the type of a payload."""

    @classmethod
    def for_content_type(
        cls, content_type: str, known: Iterable[str], where: str, kind: Literal["input", "request"] = "input"
    ) -> CodecNotFound:
        """Return the error for an unknown content type of a tensor, or of a whole request."""
        hint = explain_codec(kind, [content_type])
        return cls(f'{where}: unknown content type "{content_type}"; known are {_listed(known)}.{hint}')

    @classmethod
    def for_payload(
        cls, payload: object, where: str, kind: Literal["input", "request"] = "input"
    ) -> CodecNotFound:
        """Return the error for a value that no codec encodes as a tensor, or as a whole response."""
        found = type(payload)
        return cls(
            f"{where}: no codec encodes a {found.__module__}.{found.__qualname__}; "
            f"name a content type for it.{explain_codec(kind, class_names(found))}"
        )


class InputsNotFound(InferenceError):
    """Inputs that the model needs are missing, or inputs were sent that it does not know."""

    @classmethod
    def missing(cls, model: str, names: Iterable[str], expected: Iterable[str]) -> InputsNotFound:
        """Return the error for needed inputs that were not sent."""
        needed, known = set(names), set(expected)
        # A client that sent none of several inputs may have sent all of them as one matrix.
        each = ", one tensor each" if len(known) > 1 and needed == known else ""
        return cls(f"Model {model} needs the inputs {_listed(needed)}; it takes {_listed(known)}{each}.")

    @classmethod
    def unknown(cls, model: str, names: Iterable[str], expected: Iterable[str]) -> InputsNotFound:
        """Return the error for inputs that the model does not take."""
        return cls(f"Model {model} does not know the inputs {_listed(names)}; it takes {_listed(expected)}.")


class OutputNotFound(InferenceError):
    """The request asks for an output that the model does not have."""

    @classmethod
    def unknown(cls, model: str, name: str, known: Iterable[str]) -> OutputNotFound:
        """Return the error for a requested output that the model does not have."""
        return cls(f'Model {model} has no output "{name}"; it has {_listed(known)}.')


class ModelFailed(MLSrvError):
    """User code raised an exception that is not an error of mlsrv.

    The log has the traceback, the client this sentence, as far as the setting ``error_details`` allows.

    Attributes:
        what, raised: for an unexpected exception, what failed and the name of its class; else empty.
    """

    what: str = ""
    raised: str = ""

    @classmethod
    def of(cls, name: str, version: str | None, error: BaseException) -> ModelFailed:
        """Return the error for an exception of a model, with up to 300 characters of its text."""
        text = " ".join(text_of(error).split())[:300]
        made = cls(f"{model_of(name, version)} failed: {type(error).__name__}{': ' if text else ''}{text}")
        if not isinstance(error, MLSrvError):
            made.what, made.raised = f"{model_of(name, version)} failed", type(error).__name__
        return made


class ModelAnswered(MLSrvError):
    """A model answers a request with an error of its own: its sentence, and a status of HTTP.

    Args:
        message: one sentence for the client.
        status: of the response over HTTP, from 400 to 599. Other transports use the code that is nearest.

    Raises:
        ValueError: the status is no error.
    """

    _CODES: ClassVar[dict[int, Code]] = {
        404: Code.NOT_FOUND,
        409: Code.ALREADY_EXISTS,
        413: Code.TOO_LARGE,
        429: Code.OVERLOADED,
        501: Code.UNIMPLEMENTED,
        503: Code.NOT_READY,
        504: Code.DEADLINE_EXCEEDED,
    }

    def __init__(self, message: str, status: int = 500) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"{status} is no status of an error; it is one from 400 to 599.")
        super().__init__(message)
        self.status = status
        self.code = self._CODES.get(status, Code.INVALID_ARGUMENT if status < 500 else Code.INTERNAL)

    def __reduce__(self) -> tuple[type[ModelAnswered], tuple[str, int]]:
        return type(self), (str(self), self.status)


class ModelLoadError(MLSrvError):
    """A model cannot be loaded; the sentence says which, why, and what to do.

    Attributes:
        what, raised: for an unexpected exception, what failed and the name of its class; else empty.
    """

    what: str = ""
    raised: str = ""

    @classmethod
    def of_unexpected(cls, what: str, error: BaseException, text: str | None = None) -> ModelLoadError:
        """Return the error for an exception that is no sentence of mlsrv, with its description `text`."""
        if text is None:
            text = text_of(error)
            text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        made = cls(f"{what}: {text}")
        made.what, made.raised = what, type(error).__name__
        return made


class InvalidModelURI(ModelLoadError):
    """``parameters.uri`` does not lead to an artifact."""

    @classmethod
    def of(cls, name: str, uri: str | None) -> InvalidModelURI:
        """Return the error for a URI that leads nowhere, or for none."""
        if uri is None:
            return cls(f"Model {name} has no parameters.uri and no folder of its own; set parameters.uri.")
        made = cls(f"Model {name}: parameters.uri {uri!r} is neither a file nor a folder.")
        made.what, made.raised = f"Model {name} failed to load", cls.__name__
        return made


class ModelParametersMissing(ModelLoadError):
    """A runtime needs a parameter that the model's settings do not have."""

    @classmethod
    def of(cls, name: str, parameter: str) -> ModelParametersMissing:
        """Return the error for a missing parameter of a model."""
        return cls(f"Model {name} needs the parameter {parameter}; add it to model-settings.json.")


class ModelsFailed(ModelLoadError):
    """Models failed to load at the start, and the settings say that the server must not run without them.

    `problems` has one sentence for each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))

    def __reduce__(self) -> tuple[type[ModelsFailed], tuple[list[str]]]:
        return type(self), (self.problems,)


class RepositoryError(MLSrvError):
    """The model repository cannot be read.

    Attributes:
        what, raised: for an unexpected exception, what failed and the name of its class; else empty.
    """

    what: str = ""
    raised: str = ""

    @classmethod
    def of_unexpected(cls, error: BaseException, sentence: str | None = None) -> RepositoryError:
        """Return the error for an exception; `sentence` says it with details, such as the path."""
        what = "The model repository cannot be read"
        made = cls(sentence or f"{what}: {type(error).__name__}: {error}")
        made.what, made.raised = what, type(error).__name__
        return made


class PluginError(ConfigurationError):
    """A plugin that the settings or a model need did not load."""


class OfferClash(ConfigurationError):
    """Two plugins offer the same name."""

    @classmethod
    def between(cls, kind: str, name: str, first: str, second: str) -> OfferClash:
        """Return the error for one name that two distributions offer."""
        return cls(
            f'The {kind} "{name}" is offered by both {first} and {second}; block or uninstall one of them.'
        )
