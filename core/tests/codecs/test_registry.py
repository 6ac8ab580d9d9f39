"""Registry of codecs: by content type, by payload and by annotation."""

from __future__ import annotations

import gc
import re
import weakref
from collections import OrderedDict
from typing import Any

import pytest

from mlsrv.codecs import CodecRegistry, InputCodec
from mlsrv.errors import CodecError, OfferClash
from mlsrv.plugins.offers import CodecOffer

BROKEN = CodecOffer("broken", "nowhere.codecs:Codec", payloads=("builtins.list",))


class Whatever(InputCodec):
    ContentType = "any"
    TypeHint = dict

    @classmethod
    def can_encode(cls, payload: object) -> bool:
        return True


class Lists(Whatever):
    ContentType = "lists"
    TypeHint = list


class Others(Lists):
    ContentType = "others"
    TypeHint = list


def offer(codec: Any, *payloads: str) -> CodecOffer:
    return CodecOffer(codec.ContentType, codec, payloads=payloads)


def test_a_codec_that_names_no_payloads_is_asked_last() -> None:
    registry = CodecRegistry([("a", offer(Whatever)), ("b", offer(Lists, "builtins.list"))])
    assert registry.input_codec_for([1]) is Lists
    assert registry.input_codec_for("text") is Whatever


@pytest.mark.parametrize("origins", ["ab", "ba"])
def test_two_plugins_that_encode_one_payload_are_named(origins: str) -> None:
    first, second = origins
    registry = CodecRegistry(
        [(first, offer(Lists, "builtins.list")), (second, offer(Others, "builtins.list"))]
    )
    said = f'codec of the payload "builtins.list" is offered by both {first} and {second}'
    with pytest.raises(OfferClash, match=said):
        registry.input_codec_for([1])
    with pytest.raises(OfferClash, match="is offered by both"):
        registry.child().input_codec_for([1])


def test_the_codec_that_names_the_nearest_class_encodes_it() -> None:
    registry = CodecRegistry(
        [("a", offer(Lists, "builtins.dict")), ("b", offer(Others, "collections.OrderedDict"))]
    )
    assert registry.input_codec_for(OrderedDict()) is Others
    assert registry.input_codec_for({}) is Lists


def test_codecs_of_one_plugin_come_in_its_order_and_those_of_a_model_first() -> None:
    registry = CodecRegistry([("a", offer(Lists, "builtins.list")), ("a", offer(Others, "builtins.list"))])
    assert registry.input_codec_for([1]) is Lists
    child = registry.child()
    child.add(offer(Whatever), "Whatever of model m")
    assert child.input_codec_for([1]) is Whatever


def test_a_codec_that_is_added_later_encodes_what_others_encoded_before() -> None:
    registry = CodecRegistry([("a", offer(Whatever))])
    child = registry.child()
    assert child.input_codec_for([1]) is Whatever
    registry.add(offer(Lists, "builtins.list"), "b")
    assert child.input_codec_for([1]) is Lists
    child.add(offer(Others, "builtins.list"), "Others of model m")
    assert child.input_codec_for([1]) is Others
    assert child.request_codec_for([1]) is None


def test_classes_of_payloads_are_not_kept() -> None:
    registry = CodecRegistry([("a", offer(Whatever))])
    kept = weakref.ref(made := type("Made", (), {}))
    assert registry.input_codec_for(made()) is Whatever
    del made
    gc.collect()
    assert kept() is None


def test_a_codec_that_cannot_be_imported_leaves_the_others_alone() -> None:
    registry = CodecRegistry([("mlsrv-a", BROKEN), ("mlsrv-b", offer(Lists, "builtins.list"))])
    assert registry.input_codec_for([1]) is Lists
    assert registry.claiming("input", lambda codec: codec.TypeHint is list, "list") is Lists
    assert registry.claiming("input", lambda codec: False, "nothing") is None
    assert registry.child().failures() == registry.failures()
    [told] = registry.failures()
    assert re.match('The codec "broken" of mlsrv-a cannot be imported: ModuleNotFoundError: ', told)


def test_a_codec_that_cannot_be_imported_is_told_where_no_other_does() -> None:
    registry = CodecRegistry([("mlsrv-a", BROKEN)])
    for _ in range(2):
        with pytest.raises(CodecError, match='"broken" of mlsrv-a cannot be imported'):
            registry.input_codec_for([1])
    with pytest.raises(CodecError, match='"broken" of mlsrv-a cannot be imported'):
        registry.input_codec("broken")
    assert registry.input_codec_for("text") is None
