"""Contract suites: the contract of codecs tried with arrays, for the tests and for ``mlsrv plugins
check``."""

from __future__ import annotations

import numpy as np

from mlsrv import CodecOffer
from mlsrv.codecs import NumpyCodec, NumpyRequestCodec
from mlsrv.types import InferenceRequest, RequestInput
from mlsrv_testing.contracts import InputCodecContract, RequestCodecContract

SAMPLES = [
    np.array([[True], [False]]),
    np.array([[-(2**63), 2**63 - 1]]),
    np.array([[2**64 - 1]], np.uint64),
    np.array([[-1, 2], [3, -4]], np.int8),
    np.array([[1.5, np.nan, np.inf, -np.inf]], np.float16),
    np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    np.array([[0.1, np.nan], [np.inf, -0.0]]),
    np.zeros((0, 4), np.float32),
    np.array([["a", ""], ["é", "a long text"]], object),
]
GARBAGE = [
    RequestInput("x", [2, 2], "FP32", [1.0, 2.0, 3.0]),
    RequestInput("x", [1], "INT8", [300]),
    RequestInput("x", [1], "FP32", ["one"]),
    RequestInput("x", [2], "BYTES", ["one"]),
]
BAD_REQUESTS = [
    *(InferenceRequest(inputs=[tensor]) for tensor in GARBAGE),
    InferenceRequest(inputs=[]),
    InferenceRequest(inputs=[RequestInput("x", [1], "INT8", [1]), RequestInput("y", [1], "INT8", [1])]),
]


class TestNumpyCodec(InputCodecContract):
    codec = NumpyCodec
    samples = SAMPLES
    garbage = GARBAGE


class TestNumpyRequestCodec(RequestCodecContract):
    codec = NumpyRequestCodec
    samples = SAMPLES
    garbage = BAD_REQUESTS
    offers = (CodecOffer("np", NumpyCodec),)
