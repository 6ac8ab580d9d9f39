"""Contract suites: the contract of codecs tried with DataFrames, for the tests and for ``mlsrv plugins
check``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mlsrv import CodecOffer
from mlsrv.codecs import Base64Codec, DatetimeCodec, StringCodec
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_pandas import JsonCodec, PandasCodec
from mlsrv_testing.contracts import RequestCodecContract


class TestPandasCodec(RequestCodecContract):
    codec = PandasCodec
    samples = (
        pd.DataFrame({"text": ["a", "é"], "number": np.array([1, 2], np.int8), "real": [0.5, np.nan]}),
        pd.DataFrame({"gaps": pd.array([1, None], dtype="Int64"), "object": [{"a": [1]}, None]}),
        pd.DataFrame({"kind": pd.Categorical(["b", None], ["b", "a"]), "bytes": [b"\xff", b""]}),
        pd.DataFrame({"when": pd.to_datetime(["2020-01-01", "2020-07-01"]).tz_localize("Europe/Berlin")}),
    )
    garbage = (
        InferenceRequest([RequestInput("x", [2, 2], "INT8", [1, 2, 3, 4])]),
        InferenceRequest([RequestInput("x", [2], "INT8", [1])]),
        InferenceRequest([RequestInput("x", [1], "INT8", [1]), RequestInput("y", [2], "INT8", [1, 2])]),
        InferenceRequest([RequestInput("x", [1], "BYTES", ["{"], {"content_type": "pd_json"})]),
        InferenceRequest([RequestInput("x", [1], "INT8", [1], {"pd_dtype": "nonsense"})]),
    )

    offers = (
        CodecOffer("str", StringCodec),
        CodecOffer("base64", Base64Codec),
        CodecOffer("datetime", DatetimeCodec),
        CodecOffer("pd_json", JsonCodec),
    )

    @staticmethod
    def same(left: Any, right: Any) -> bool:
        return bool(isinstance(left, pd.DataFrame) and left.equals(right))
