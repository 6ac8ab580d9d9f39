"""Fields of settings classes."""

import attrs
import pytest

from mlsrv.settings import help_of, setting, settings_class
from mlsrv_settings_kit.fields import default_of


@settings_class
class Some:
    port: int = setting(8080, help="A port.", at_least=0)
    names: list[str] = setting(factory=list, help="Names.")


def test_a_class_is_frozen_and_documented() -> None:
    made = Some(port=1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.port = 2  # type: ignore[misc]  # the mistake under test
    assert [(field.name, help_of(field), field.type) for field in attrs.fields(Some)] == [
        ("port", "A port.", int),
        ("names", "Names.", list[str]),
    ]


def test_each_default_is_a_new_object() -> None:
    port, names = attrs.fields(Some)
    assert default_of(port) == 8080
    assert default_of(names) == []
    assert default_of(names) is not default_of(names)
    assert Some().names is not Some().names


def test_a_bound_holds_for_direct_construction_too() -> None:
    with pytest.raises(ValueError, match="expected at least 0, got -1"):
        Some(port=-1)
