"""Offers: frozen, checked when they are made, resolved when they are needed."""

from typing import Any

import attrs
import pytest

from mlsrv.plugins.offers import CodecOffer, RuntimeOffer, TransportOffer, resolve_target
from mlsrv.settings import Settings
from mlsrv.testing import EchoModel


def test_a_lazy_target_is_imported_when_it_is_needed() -> None:
    assert resolve_target("mlsrv.testing:EchoModel") is EchoModel
    assert resolve_target("mlsrv.testing:EchoModel.predict") is EchoModel.predict
    assert resolve_target(EchoModel) is EchoModel
    with pytest.raises(ModuleNotFoundError):
        resolve_target("nowhere:Thing")
    with pytest.raises(AttributeError):
        resolve_target("mlsrv.testing:Nothing")


@pytest.mark.parametrize("target", ["mlsrv.testing", "mlsrv.testing:", ":EchoModel", ""])
def test_a_target_has_two_parts(target: str) -> None:
    with pytest.raises(ValueError, match=r'must read "package.module:Attribute"'):
        RuntimeOffer("toy", target)


@pytest.mark.parametrize("name", ["", " ", None, 5])
def test_an_offer_has_a_name(name: Any) -> None:
    with pytest.raises(ValueError, match="name of an offer"):
        CodecOffer(name, "a:B")


def test_an_offer_does_not_change() -> None:
    offer = TransportOffer("toy", "a:B")
    assert offer.enabled(Settings())
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        offer.name = "other"  # type: ignore[misc]  # the mistake under test
