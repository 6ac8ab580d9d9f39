"""Registry of codecs: by content type and by payload."""

from mlsrv.codecs import CodecRegistry, InputCodec
from mlsrv.plugins.offers import CodecOffer


def test_a_codec_that_names_no_payloads_is_asked_last() -> None:
    class Any_(InputCodec):
        ContentType = "any"

        @classmethod
        def can_encode(cls, payload: object) -> bool:
            return True

    class Lists(Any_):
        ContentType = "lists"

    offers = [("a", CodecOffer("any", Any_)), ("b", CodecOffer("lists", Lists, payloads=("builtins.list",)))]
    registry = CodecRegistry(offers)
    assert registry.input_codec_for([1]) is Lists
    assert registry.input_codec_for("text") is Any_
