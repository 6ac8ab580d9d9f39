"""Categories: values of every type, and what becomes of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlsrv.types import Datatype
from mlsrv_runtime_kit.categories import Categories, Unmapped


@pytest.mark.parametrize(
    ("values", "datatype", "sent", "codes"),
    [
        (["a", "b"], Datatype.BYTES, np.array(["b", b"a", None], object), [1, 0, np.nan]),
        (np.array([10, 20]), Datatype.INT64, np.array([20.0, np.nan, 10.0]), [1, np.nan, 0]),
        ([10, 20], Datatype.INT64, np.array(["20", b"10"], object), [1, 0]),
        ([2**60, 2**60 + 1], Datatype.INT64, np.array([2**60 + 1, 2**60]), [1, 0]),
        ([0.1, 0.25], Datatype.FP64, np.array([0.1, 0.25], np.float32), [0, 1]),
        ([False, True], Datatype.BOOL, np.array([True, False]), [1, 0]),
        ([False, True], Datatype.BOOL, np.array(["true", "False", "1"], object), [1, 0, 1]),
        ([False, True], Datatype.BOOL, np.array([1.0, 0.0]), [1, 0]),
        ([1, "b", 2.5], Datatype.BYTES, np.array(["b", 2.5, 1], object), [1, 2, 0]),
    ],
)
def test_values_have_the_codes_of_training(values: Any, datatype: Datatype, sent: Any, codes: Any) -> None:
    categories = Categories.of(values)
    found, unseen = categories.codes(sent)
    assert categories.datatype is datatype
    np.testing.assert_array_equal(found, codes)
    assert unseen == []


def test_values_that_were_not_seen_are_told_once_each() -> None:
    found, unseen = Categories.of(["a", "b"]).codes(np.array(["c", "b", "c", ""], object))
    np.testing.assert_array_equal(found, [np.nan, 1, np.nan, np.nan])
    assert unseen == ["c", ""]


@pytest.mark.parametrize(
    ("values", "sent"),
    [
        (["10", "20"], [10]),
        ([10, 20], ["ten"]),
        ([10, 20], [True]),
        ([False, True], [2]),
        ([False, True], ["yes"]),
        (["a"], [b"\xff"]),
        (["a"], [["a"]]),
    ],
)
def test_values_of_another_type_are_refused(values: Any, sent: Any) -> None:
    column = np.empty(len(sent), object)
    column[:] = sent
    with pytest.raises(Unmapped, match="was sent, but its categories are"):
        Categories.of(values).codes(column)
