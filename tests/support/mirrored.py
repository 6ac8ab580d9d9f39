"""Requests to a model that shows everything that reached it, and answers that are to be the same bytes."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlsrv.types import Datatype, InferenceRequest, Parameters, RequestInput
from workspace import ROOT

SOURCE = ROOT / "tests/integration/mirror/model-settings.json"
"""Stands for settings of the model ``models.Mirror``."""

AT_ONCE = 5
"""Requests that are sent together, so that batches form where there is batching."""

names = st.text("abcdefgh", min_size=1, max_size=4)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
values = st.booleans() | st.integers(-(2**40), 2**40) | texts | st.floats(-9, 9)
parameters = st.dictionaries(names.map("p_{}".format), values, max_size=3)
RAW_ONLY = {Datatype.FP16, Datatype.BF16}
"""Datatypes that typed contents of gRPC cannot hold."""


@st.composite
def tensors(draw: st.DrawFn, name: str, rows: int | None) -> RequestInput:
    datatype = draw(st.sampled_from(sorted(Datatype, key=str)))
    shape = list(draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
    if rows is not None:
        shape[0] = rows
    count = int(np.prod(shape))
    if datatype is Datatype.BYTES:
        data: Any = draw(st.lists(texts, min_size=count, max_size=count))
    elif datatype is Datatype.BF16:
        # JSON has one NaN, and this type many.
        finite = st.floats(width=32, allow_nan=False)
        data = (draw(hnp.arrays(np.float32, count, elements=finite)).view(np.uint32) >> 16).astype(np.uint16)
    else:
        data = draw(hnp.arrays(datatype.dtype, count))
    return RequestInput(name, shape, datatype, data, Parameters(**draw(parameters)))


@st.composite
def inference_requests(draw: st.DrawFn) -> InferenceRequest:
    rows = draw(st.none() | st.sampled_from([1, 2, 3, 10]))  # with rows in common, requests can be joined
    inputs = [
        draw(tensors(name, rows)) for name in draw(st.lists(names, min_size=1, max_size=3, unique=True))
    ]
    extra = draw(parameters)
    trouble = draw(st.sampled_from([None, None, None, None, "refuse", "fail"]))
    return InferenceRequest(inputs, id="id", parameters=Parameters(trouble=trouble, **extra), model_name="m")


class Way(Protocol):
    """One way to the model."""

    def ask(self, request: InferenceRequest) -> bytes:
        """The answer, whatever it is."""


def answers(all_ways: Sequence[Way], request: InferenceRequest) -> set[bytes]:
    """What comes over all ways, asked alone and several times at once."""
    found = {way.ask(request) for way in all_ways}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for way in all_ways:
            found.update(threads.map(way.ask, [request] * AT_ONCE))
    return found


def own_values() -> dict[str, Callable[[], Any]]:
    """Answers with values of the model's own classes, which the server lacks, by name."""
    found: dict[str, Callable[[], Any]] = runpy.run_path(str(SOURCE.with_name("own_values.py")))["VALUES"]
    return found


def asking_for(own: str) -> InferenceRequest:
    """A request for one of them."""
    tensor = RequestInput("x", [1], "INT64", [1])
    return InferenceRequest([tensor], id="id", parameters=Parameters(own=own), model_name="m")
