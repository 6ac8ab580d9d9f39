"""Parameters: the named values of requests, responses and tensors."""

from collections.abc import ItemsView, KeysView
from typing import Any, Self

from mlsrv_protocol.errors import InvalidPayload
from mlsrv_protocol.quoting import clip

Extra = dict[str, Any]
Headers = dict[str, str]


class Parameters:
    """The named values of a tensor, a request or a response. Any key is allowed; `content_type` and `headers`
    have a meaning of their own.

    Keys other than `content_type` and `headers` live in `extra` and can also be read and set as attributes
    (`parameters.temperature`), as long as they are not the name of a method.

    Args:
        content_type: of the codec that decodes or encodes the tensor.
        headers: the headers of the transport, names in lower case.
        extra: all other keys. None counts as absent.

    Raises:
        InvalidPayload: `content_type` is not a string, or `headers` is not a dict of strings.
    """

    __slots__ = ("content_type", "extra", "headers")

    content_type: str | None
    headers: Headers | None
    extra: Extra

    def __init__(
        self, /, content_type: str | None = None, headers: Headers | None = None, **extra: Any
    ) -> None:
        if content_type is not None and not isinstance(content_type, str):
            raise InvalidPayload(f"parameters.content_type is {clip(content_type)}; it must be a string.")
        if headers is not None and not _are_headers(headers):
            raise InvalidPayload("parameters.headers must be an object whose values are strings.")
        _set(self, "content_type", content_type)
        _set(self, "headers", headers)
        _set(self, "extra", extra)

    @classmethod
    def construct(cls, content_type: str | None, headers: Headers | None, extra: Extra) -> Self:
        """Make parameters without checking anything, for code that has checked the values. `extra` is not
        copied."""
        made = cls.__new__(cls)
        _set(made, "content_type", content_type)
        _set(made, "headers", headers)
        _set(made, "extra", extra)
        return made

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of any key, `content_type` and `headers` included; `default` when it is absent or
        None."""
        value = getattr(self, key) if key in _FIELDS else self.extra.get(key)
        return default if value is None else value

    def dict(self) -> Extra:
        """Return all values that are not None as a new dict; nested values are shared, not copied."""
        found: Extra = {}
        if self.content_type is not None:
            found["content_type"] = self.content_type
        if self.headers is not None:
            found["headers"] = self.headers
        for key, value in self.extra.items():
            if value is not None:
                found[key] = value
        return found

    def to_plain(self) -> Extra:
        """Return the JSON form, which is `dict()`."""
        return self.dict()

    def keys(self) -> KeysView[str]:
        """Return the keys whose values are not None."""
        return self.dict().keys()

    def items(self) -> ItemsView[str, Any]:
        """Return the keys whose values are not None, with the values."""
        return self.dict().items()

    def __contains__(self, key: object) -> bool:
        return key in self.dict()

    def __getattr__(self, name: str) -> Any:
        # Reached only when normal lookup fails. A slot that is not filled yet must not look itself up again.
        if name not in _SLOTS and name in self.extra:
            return self.extra[name]
        raise AttributeError(f"There is no parameter {clip(name)}.")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SLOTS:
            _set(self, name, value)
        else:
            self.extra[name] = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameters):
            return NotImplemented
        return self.dict() == other.dict()

    def __repr__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.items())
        return f"Parameters({inside})"

    def __copy__(self) -> "Parameters":
        """Return a copy with its own keys and headers; the values of the keys are shared."""
        headers = None if self.headers is None else self.headers.copy()
        return Parameters(self.content_type, headers, **self.extra)

    def __reduce__(self) -> tuple[Any, tuple[str | None, Headers | None, Extra]]:
        return _rebuild, (self.content_type, self.headers, self.extra)


_FIELDS = frozenset({"content_type", "headers"})
_SLOTS = frozenset(Parameters.__slots__)
_set = object.__setattr__


def _are_headers(headers: object) -> bool:
    return isinstance(headers, dict) and all(
        isinstance(key, str) and isinstance(value, str) for key, value in headers.items()
    )


def _rebuild(content_type: str | None, headers: Headers | None, extra: Extra) -> Parameters:
    return Parameters(content_type, headers, **extra)
