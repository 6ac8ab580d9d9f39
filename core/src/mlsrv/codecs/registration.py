"""Registration: codecs that the modules of a model define or import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import TypeVar

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.plugins.offers import CodecOffer

_MARK = "__mlsrv_codec__"

_Input = TypeVar("_Input", bound=type[InputCodec])
_Request = TypeVar("_Request", bound=type[RequestCodec])


def register_input_codec(codec: _Input) -> _Input:
    """Let the models whose modules hold this class use it for its ``ContentType`` (a class decorator).

    The codec belongs to a model if a module in the model's folder defines or imports it, or the module that
    defines the model's class, or a base of that, does. Other models do not see it. For every model of a
    server, offer it in a plugin with the hook ``mlsrv_codecs``.

    Raises:
        TypeError: it is not an `InputCodec`, or has no ``ContentType``.
    """
    _check(codec, InputCodec)
    setattr(codec, _MARK, True)
    return codec


def register_request_codec(codec: _Request) -> _Request:
    """Do the same as `register_input_codec` for a `RequestCodec`."""
    _check(codec, RequestCodec)
    setattr(codec, _MARK, True)
    return codec


def _check(codec: object, base: type) -> None:
    if not (isinstance(codec, type) and issubclass(codec, base)):
        raise TypeError(
            f"{codec!r} cannot be registered: it is not a subclass of mlsrv.codecs.{base.__name__}."
        )
    if not getattr(codec, "ContentType", ""):
        raise TypeError(f"{codec.__qualname__} cannot be registered: it has no ContentType.")


def registered_codecs(modules: Iterable[ModuleType]) -> Iterator[tuple[str, CodecOffer]]:
    """Yield name and offer of each registered codec class among the names of modules, each once."""
    found: dict[type, CodecOffer] = {}
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, type) and _MARK in vars(value):
                if issubclass(value, InputCodec):
                    found[value] = CodecOffer(value.ContentType, value, "input")
                elif issubclass(value, RequestCodec):
                    found[value] = CodecOffer(value.ContentType, value, "request")
    for codec, offer in found.items():
        yield codec.__qualname__, offer
