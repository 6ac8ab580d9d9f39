"""Registry: codecs by content type, by payload and by type hint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeAlias

from mlsrv.codecs.base import InputCodec, RequestCodec
from mlsrv.errors import CodecError, OfferClash
from mlsrv.plugins.offers import CodecOffer, resolve_target
from mlsrv.settings.known_plugins import known_sample

AnyInputCodec: TypeAlias = "type[InputCodec] | InputCodec"
AnyRequestCodec: TypeAlias = "type[RequestCodec] | RequestCodec"
Kind: TypeAlias = Literal["input", "request"]


def _is_of(payload: object, names: Iterable[str]) -> bool:
    """Return whether the payload's class, or a base of it, is one of ``"package.ClassName"``.

    Only the first part of the module counts, since libraries move their classes between submodules.
    """
    for base in type(payload).__mro__[:-1]:
        if f"{base.__module__.partition('.')[0]}.{base.__qualname__}" in names:
            return True
    return False


class CodecRegistry:
    """The codecs of one kernel, or of one model on top of its kernel's.

    Args:
        offers: (distribution, offer) pairs, in order of precedence for payloads.
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
        for distribution, offer in offers:
            self.add(offer, distribution)

    def add(self, offer: CodecOffer, origin: str) -> None:
        """Add one codec. Raises `OfferClash` if this registry (not its parent) has one of the same name and
        kind."""
        key: tuple[Kind, str] = (offer.kind, offer.name)
        if key in self._offers:
            raise OfferClash.between(f"{offer.kind} codec", offer.name, self._offers[key][0], origin)
        self._offers[key] = (origin, offer)

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
        """Return the first codec of tensors that encodes `payload`, or None."""
        return next(self._encoders("input", payload), None)

    def request_codec_for(self, payload: object) -> AnyRequestCodec | None:
        """Return the first codec of whole requests that encodes `payload`, or None."""
        return next(self._encoders("request", payload), None)

    def claiming(self, kind: Kind, claims: Callable[[Any], bool], what: str) -> Any:
        """Return the only codec of a kind for which `claims` is true, or None; the model's own come first.

        Args:
            kind: "input" or "request".
            claims: called with each codec.
            what: what they claim, for messages.

        Raises:
            OfferClash: several codecs of the model claim it, or several of the plugins.
            CodecError: none claims it, and one cannot be imported.
        """
        found: dict[int, tuple[str, Any]] = {}
        unusable: CodecError | None = None
        for (of_kind, name), (origin, _) in self._offers.items():
            if of_kind != kind:
                continue
            try:
                codec = self._find(kind, name)
            except CodecError as error:
                unusable = error
                continue
            if claims(codec):
                found.setdefault(id(codec), (origin, codec))
        if len(found) > 1:
            (first, _), (second, _), *_ = found.values()
            raise OfferClash.between("codec of the annotation", what, first, second)
        for _, codec in found.values():
            return codec
        inherited = self._parent.claiming(kind, claims, what) if self._parent else None
        if inherited is None and unusable is not None:
            raise unusable
        return inherited

    def _encoders(self, kind: Kind, payload: object) -> Iterator[Any]:
        # Those that name the types they are for come first: a codec that was installed for its content type
        # alone must not take payloads from them.
        for named in (True, False):
            for (of_kind, name), (_, offer) in self._offers.items():
                if of_kind != kind or bool(offer.payloads) is not named:
                    continue
                if not named or _is_of(payload, offer.payloads):
                    codec = self._find(kind, name)
                    if codec.can_encode(payload):
                        yield codec
        if self._parent:
            yield from self._parent._encoders(kind, payload)

    def _find(self, kind: Kind, name: str) -> Any:
        key = (kind, name)
        codec = self._resolved.get(key)
        if codec is None and key in self._offers:
            origin, offer = self._offers[key]
            try:
                codec = self._resolved[key] = resolve_target(offer.target)
            except (ImportError, AttributeError) as error:
                raise CodecError(f'The codec "{name}" of {origin} cannot be imported: {error}') from error
        if codec is None and self._parent:
            return self._parent._find(kind, name)
        return codec
