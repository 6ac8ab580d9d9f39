"""Registry: codecs by content type, by payload and by type hint."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal, TypeAlias
from weakref import WeakKeyDictionary

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.errors import CodecError, OfferClash
from mlsrv.plugins.offers import CodecOffer, resolve_target
from mlsrv_settings_kit.known_plugins import class_names, known_sample

AnyInputCodec: TypeAlias = "type[InputCodec] | InputCodec"
AnyRequestCodec: TypeAlias = "type[RequestCodec] | RequestCodec"
Kind: TypeAlias = Literal["input", "request"]
_Nearest: TypeAlias = list[list[tuple[str, str]]]


_UNNAMED = 1_000_000
"""Distance of codecs that name no payloads: farther than any base of a class."""


def _distance(cls: type, names: Collection[str]) -> int | None:
    """Return how many bases lie between a class and one of ``"package.ClassName"``, or None."""
    if not names:
        return _UNNAMED
    return next((distance for distance, name in enumerate(class_names(cls)) if name in names), None)


class CodecRegistry:
    """The codecs of one kernel, or of one model on top of its kernel's.

    Args:
        offers: (distribution, offer) pairs; of one distribution in order of precedence for payloads.
        parent: asked for what is not found here.

    Raises:
        OfferClash: two offers of one name and kind.
    """

    def __init__(
        self, offers: Iterable[tuple[str, CodecOffer]] = (), parent: CodecRegistry | None = None
    ) -> None:
        self._parent = parent
        self._offers: dict[tuple[Kind, str], tuple[str, CodecOffer]] = {}
        self._resolved: dict[tuple[Kind, str], Any] = {}
        self._failures: dict[tuple[Kind, str], str] = {}
        self._by_class: WeakKeyDictionary[type, dict[Kind, _Nearest]] = WeakKeyDictionary()
        for distribution, offer in offers:
            self.add(offer, distribution)

    def add(self, offer: CodecOffer, origin: str) -> None:
        """Add one codec. Raises `OfferClash` if this registry (not its parent) has one of the same name and
        kind."""
        key: tuple[Kind, str] = (offer.kind, offer.name)
        if key in self._offers:
            raise OfferClash.between(f"{offer.kind} codec", offer.name, self._offers[key][0], origin)
        self._offers[key] = (origin, offer)
        self._by_class.clear()

    def child(self) -> CodecRegistry:
        """Return a registry for one model: its codecs come first, and other models do not see them."""
        return CodecRegistry(parent=self)

    def content_types(self, kind: Kind) -> list[str]:
        """Return every known content type of a kind, sorted."""
        own = {name for of_kind, name in self._offers if of_kind == kind}
        return sorted(own | set(self._parent.content_types(kind) if self._parent else ()))

    def sample(self, content_type: str) -> str:
        """Return a text that the codec of tensors of a content type decodes; the empty one for most."""
        own = self._offers.get(("input", content_type))
        if own is not None:
            return own[1].sample
        return self._parent.sample(content_type) if self._parent is not None else known_sample(content_type)

    def input_codec(self, content_type: str) -> AnyInputCodec | None:
        """Return the codec of tensors for a content type, or None."""
        return self._find("input", content_type)  # type: ignore[no-any-return]  # of that kind

    def request_codec(self, content_type: str) -> AnyRequestCodec | None:
        """Return the codec of whole requests for a content type, or None."""
        return self._find("request", content_type)  # type: ignore[no-any-return]  # of that kind

    def input_codec_for(self, payload: object) -> AnyInputCodec | None:
        """Return the codec of tensors that encodes `payload`, or None. Raises as `request_codec_for`."""
        return self._encoder("input", payload)  # type: ignore[no-any-return]  # of that kind

    def request_codec_for(self, payload: object) -> AnyRequestCodec | None:
        """Return the codec of whole requests that encodes `payload`, or None.

        The model's own come first, then those that name the payload's class, then those that name the nearest
        base of it, then those that name no payloads.

        Raises:
            OfferClash: two codecs do, of the model or of two plugins, and neither comes first.
            CodecError: none does, and one that may cannot be imported.
        """
        return self._encoder("request", payload)  # type: ignore[no-any-return]  # of that kind

    def claiming(self, kind: Kind, claims: Callable[[Any], bool], what: str) -> Any:
        """Return the only codec of a kind for which `claims` is true, or None; the model's own come first.

        A codec that cannot be imported claims nothing; `failures` tells of it.

        Args:
            kind: "input" or "request".
            claims: called with each codec.
            what: what they claim, for messages.

        Raises:
            OfferClash: several codecs of the model claim it, or several of the plugins.
        """
        found: dict[int, tuple[str, Any]] = {}
        for (of_kind, name), (origin, _) in self._offers.items():
            codec = self._importable(kind, name) if of_kind == kind else None
            if codec is not None and claims(codec):
                found.setdefault(id(codec), (origin, codec))
        if len(found) > 1:
            (first, _), (second, _), *_ = found.values()
            raise OfferClash.between("codec of the annotation", what, first, second)
        for _, codec in found.values():
            return codec
        return self._parent.claiming(kind, claims, what) if self._parent else None

    def failures(self) -> list[str]:
        """Return a sentence for each codec that was needed and could not be imported."""
        return [*self._failures.values(), *(self._parent.failures() if self._parent else ())]

    def _encoder(self, kind: Kind, payload: object) -> Any:
        # Those that name the types they are for come first: a codec that was installed for its content type
        # alone must not take payloads from them, nor be imported for them.
        failed: list[str] = []
        for candidates in self._candidates(kind, type(payload)):
            found: dict[str, Any] = {}
            for name, origin in candidates:
                codec = self._importable(kind, name)
                if codec is None:
                    failed.append(self._failures[kind, name])
                elif codec.can_encode(payload) and codec not in found.values():
                    found.setdefault(origin, codec)
            if len(found) > 1:
                cls = type(payload)
                first, second, *_ = found
                what = f"{cls.__module__}.{cls.__qualname__}"
                raise OfferClash.between("codec of the payload", what, first, second)
            for codec in found.values():
                return codec
        inherited = self._parent._encoder(kind, payload) if self._parent else None
        if inherited is None and failed:
            raise CodecError(failed[0])
        return inherited

    def _candidates(self, kind: Kind, cls: type) -> _Nearest:
        """Return names and origins of the codecs that may encode payloads of a class, the nearest first."""
        known = self._by_class.setdefault(cls, {})  # weak: classes of models go with them
        if kind not in known:
            found: dict[int, list[tuple[str, str]]] = {}
            for (of_kind, name), (origin, offer) in self._offers.items():
                if of_kind == kind and (distance := _distance(cls, offer.payloads)) is not None:
                    found.setdefault(distance, []).append((name, origin))
            known[kind] = [found[distance] for distance in sorted(found)]
        return known[kind]

    def _importable(self, kind: Kind, name: str) -> Any:
        """Return an own codec, or None if it cannot be imported."""
        if (kind, name) in self._failures:
            return None
        try:
            return self._find(kind, name)
        except CodecError:
            return None

    def _find(self, kind: Kind, name: str) -> Any:
        key = (kind, name)
        codec = self._resolved.get(key)
        if codec is None and key in self._offers:
            origin, offer = self._offers[key]
            try:
                codec = self._resolved[key] = resolve_target(offer.target)
            except Exception as error:  # importing runs the code of others
                self._failures[key] = (
                    f'The codec "{name}" of {origin} cannot be imported: {type(error).__name__}: {error}'
                )
                raise CodecError(self._failures[key]) from error
        if codec is None and self._parent:
            return self._parent._find(kind, name)
        return codec
