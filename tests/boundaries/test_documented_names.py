"""Names that were documented once stay importable: ``documented_names.txt`` is never shortened.

A line is ``module:name``, or ``module:`` for a module alone. A name that has moved warns with its new home.
"""

import importlib
import warnings
from pathlib import Path

import pytest

LINES = (Path(__file__).parent / "documented_names.txt").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("line", LINES)
def test_a_documented_name_is_importable(line: str) -> None:
    module, _, name = line.partition(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")


def test_a_moved_name_says_where_it_is() -> None:
    with pytest.warns(DeprecationWarning, match=r"import ModelHost from there"):
        importlib.import_module("mlsrv.host").ModelHost  # noqa: B018  # the access itself warns
    with pytest.raises(AttributeError):
        importlib.import_module("mlsrv.host").Nothing  # noqa: B018
