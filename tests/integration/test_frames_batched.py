"""Frames: requests whose columns have dtypes of pandas, in batches."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import numpy as np
import pandas as pd

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput
from mlsrv_pandas import PandasCodec


class Frames(MLModel):
    """Answers with the codes of the categories in the column c."""

    rows: ClassVar[list[int]] = []

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frame = self.decode_request(payload, default_codec=PandasCodec)
        self.rows.append(len(frame))
        await asyncio.sleep(0.01)
        codes = frame["c"].cat.codes.to_numpy(np.int64)
        return InferenceResponse(outputs=[ResponseOutput("y", [len(codes)], "INT64", codes)])


async def test_frames_with_equal_dtypes_are_batched() -> None:
    model = ModelSettings(name="m", implementation=Frames, max_batch_size=8, max_batch_time=5.0)
    async with Kernel(models=[model], block=["workers"]) as kernel:
        await kernel.loaded()

        def send(value: str, categories: list[str]) -> asyncio.Task[InferenceResponse]:
            column = pd.Series([value], dtype=pd.CategoricalDtype(categories))
            request = PandasCodec.encode_request(pd.DataFrame({"c": column}))
            request.model_name = "m"
            return asyncio.create_task(kernel.infer(request))

        abc, xyz = list("abc"), list("xyz")
        sent = [("a", abc), ("c", abc), ("b", abc), ("x", xyz), ("z", xyz)]
        answers = await asyncio.gather(*(send(value, known) for value, known in sent))
        assert [one.outputs[0].data.tolist() for one in answers] == [[0], [2], [1], [0], [2]]
        assert Frames.rows == [1, 2, 2]


class Cells(MLModel):
    """Answers with the cells of the column c, as Python writes them."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        frame = self.decode_request(payload, default_codec=PandasCodec)
        cells = [repr(cell) for cell in frame["c"]]
        return InferenceResponse(outputs=[ResponseOutput("y", [len(cells)], "BYTES", cells)])


async def test_what_a_missing_value_is_does_not_depend_on_the_other_requests_of_a_batch() -> None:
    model = ModelSettings(name="m", implementation=Cells, max_batch_size=8, max_batch_time=0.2)
    async with Kernel(models=[model], block=["workers"]) as kernel:
        await kernel.loaded()

        def send(text: str) -> asyncio.Task[InferenceResponse]:
            column = RequestInput("c", [1], "BYTES", [text], Parameters(content_type="pd_json"))
            request = InferenceRequest([column], model_name="m", parameters=Parameters(content_type="pd"))
            return asyncio.create_task(kernel.infer(request))

        answers = await asyncio.gather(*map(send, ["null", "true", '"a"', "null", "[1, null]"]))
        found = [one.outputs[0].data for one in answers]
        assert found == [["nan"], ["True"], ["'a'"], ["nan"], ["[1, None]"]]
