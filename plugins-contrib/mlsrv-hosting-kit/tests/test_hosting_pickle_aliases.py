"""Pickle aliases: one name in `sys.modules` that means another module for each model."""

import pickle
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from mlsrv_hosting_kit import pickle_aliases
from mlsrv_hosting_kit.pickle_aliases import current_code

NAME = "aliased_things"


class Code:
    """The code of a model with one module, whose class has a number."""

    def __init__(self, number: int) -> None:
        self.names = frozenset([NAME])
        self.module = ModuleType(f"private_{number}.{NAME}")
        self.module.Thing = type("Thing", (), {"number": number})  # type: ignore[attr-defined]  # a module of a test

    def has(self, name: str) -> bool:
        return name.partition(".")[0] == NAME

    def import_module(self, name: str) -> ModuleType:
        assert name == NAME
        return self.module


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Code]]:
    """Two models that are being loaded; a module of that name is there already."""
    real = ModuleType(NAME)
    real.Thing = type("Thing", (), {"number": 0, "__module__": NAME})  # type: ignore[attr-defined]  # see above
    monkeypatch.setitem(sys.modules, NAME, real)
    made = [Code(1), Code(2)]
    for code in made:
        pickle_aliases.publish(code)
    yield made
    for code in made:
        pickle_aliases.withdraw(code)
    assert sys.modules[NAME] is real


def test_each_model_unpickles_its_own_class(codes: list[Code]) -> None:
    text = f"c{NAME}\nThing\n.".encode()
    numbers = []
    for code in [*codes, None]:
        token = current_code.set(code)
        numbers.append(pickle.loads(text).number)
        current_code.reset(token)
    assert numbers == [1, 2, 0]


def test_what_others_set_reaches_the_ordinary_module(codes: list[Code]) -> None:
    module = sys.modules[NAME]
    module.extra = "theirs"  # type: ignore[attr-defined]  # a module of a test
    token = current_code.set(codes[0])
    assert not hasattr(module, "extra")
    current_code.reset(token)
    assert module.extra == "theirs"


def test_a_spec_is_found_only_for_the_model_that_asks(codes: list[Code]) -> None:
    token = current_code.set(codes[0])
    assert pickle_aliases.find_spec(NAME, codes[0]) is not None
    assert pickle_aliases.find_spec(NAME, codes[1]) is None
    assert pickle_aliases.find_spec("something_else", codes[0]) is None
    current_code.reset(token)
    assert pickle_aliases.find_spec(NAME, codes[0]) is None
