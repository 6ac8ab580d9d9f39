"""Tables in every form of request: ONNX Runtime's own answers, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import TensorProto, helper
from truth import COUNT, KINDS, SIZE, WILD, Learner, plain, training_frame, tried

CATEGORY = "shop é [1]"
TYPES = {
    "texts": (TensorProto.STRING, object, "keys_strings"),
    "large integers": (TensorProto.INT64, np.int64, "keys_int64s"),
    "integers": (TensorProto.INT64, np.int64, "keys_int64s"),
}


def graph(kind: str) -> Any:
    """A graph that adds up a number for each category and the other columns."""
    element, _, keys = TYPES[kind]
    known = KINDS[kind]
    scores = [float(code * 5) for code in range(len(known))]
    nodes = [
        helper.make_node(
            "LabelEncoder",
            [CATEGORY],
            ["a"],
            domain="ai.onnx.ml",
            default_float=-1.0,
            values_floats=scores,
            **{keys: known},
        ),
        helper.make_node("Cast", [COUNT], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Cast", [WILD], ["c"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["a", "b", "c", SIZE], ["predict"]),
    ]
    inputs = {CATEGORY: element, SIZE: TensorProto.FLOAT, COUNT: TensorProto.INT64, WILD: TensorProto.BOOL}
    return helper.make_model(
        helper.make_graph(
            nodes,
            "table",
            [helper.make_tensor_value_info(name, kind, ["rows", 1]) for name, kind in inputs.items()],
            [helper.make_tensor_value_info("predict", TensorProto.FLOAT, ["rows", 1])],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)],
        ir_version=8,
    )


def learners(folder: Path) -> list[Learner]:
    found = []
    for kind in TYPES:
        path = folder / f"{kind.replace(' ', '-')}.onnx"
        onnx.save(graph(kind), path)
        frame, _ = training_frame(kind, category=CATEGORY)
        answer = _answer(path, TYPES[kind][1])
        found.append(Learner(path.stem, path, answer, frame, must=frozenset({"declared"})))
    return found


def _answer(path: Path, dtype: Any) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    dtypes = {CATEGORY: dtype, SIZE: np.float32, COUNT: np.int64, WILD: np.bool_}

    def answer(frame: pd.DataFrame) -> Any:
        values = plain(frame)
        if values.isna().drop(columns=SIZE).to_numpy().any():
            raise ValueError("only numbers of floating point can be missing")
        feeds = {name: values[name].to_numpy(wanted).reshape(-1, 1) for name, wanted in dtypes.items()}
        return session.run(["predict"], feeds)[0]

    return answer


@pytest.mark.parametrize("workers", [0, 2])
async def test_every_form_of_a_table_gives_the_frameworks_answer_or_a_refusal(
    tmp_path: Path, workers: int
) -> None:
    (await tried("onnx", learners(tmp_path), workers)).check()
