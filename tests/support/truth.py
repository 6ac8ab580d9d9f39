"""Truth of tables: a family of DataFrames in every form of request, and what the framework itself answers.

The test of a runtime trains a few tiny models (`Learner`) and hands them to `tried`, which serves them and
judges each cell of models x frames x forms x ways in: an answer must hold what the framework predicts for the
DataFrame; any other request must be refused with a sentence. It is never answered with another number.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pandas as pd
from attrs import frozen

from mlsrv import ModelSettings
from mlsrv.codecs import NumpyCodec, PandasCodec
from mlsrv.errors import Code, MLSrvError
from mlsrv.types import Datatype, InferenceRequest, MetadataTensor, Parameters, RequestInput, RequestOutput
from mlsrv_protocol import binary
from mlsrv_protocol import json as wire_json
from mlsrv_protocol.grpc import INFERENCE, decode_response, encode_request
from served import HEADER, SECONDS, Served, served

CATEGORY = "shop é"
SIZE = "size in (m)"
COUNT = "count"
WILD = "wild"

KINDS: dict[str, list[Any]] = {
    "texts": ["", "10", "Straße 7", "a\tb"],
    "plain texts": ["red", "green", "10", ""],
    "integers": [-5, 10, 20, 300],
    "large integers": [2**60, 2**60 + 1, 2**60 + 2],
    "floats": [0.1, 0.25, 3.0],
    "booleans": [False, True],
    "dates": [pd.Timestamp("2024-01-31"), pd.Timestamp("2024-02-29 12:30"), pd.Timestamp("1999-12-31")],
}
"""Categories by kind, in the order in which pandas does not sort them."""

MUST = frozenset({"declared", "pd", "pd category"})
"""Forms that must be answered where the framework answers."""

SHARE = 7
"""With workers, each of so many cells is tried: a number that no form and no frame comes back after."""

WAYS = ("json", "binary", "grpc", "in batches")


@frozen
class Learner:
    """A trained model of a framework, and the framework's own answer.

    Attributes:
        name: of the model.
        artifact: where it is saved.
        predict: what the framework answers to a DataFrame with the categories as in training.
        trained: the DataFrame of training, from which the frames of requests are taken.
        output: the output that is compared.
        must: the forms that must be answered where the framework answers.
        as_sent: whether dtypes matter to the framework, so that a form that does not keep them is another
            DataFrame.
    """

    name: str
    artifact: Path
    predict: Callable[[pd.DataFrame], Any]
    trained: pd.DataFrame
    output: str = "predict"
    must: frozenset[str] = MUST
    as_sent: bool = False


@frozen
class Cell:
    """One request and what is right for it."""

    learner: Learner
    frame: str
    form: str
    request: InferenceRequest
    expected: Any


@frozen
class Verdicts:
    """What became of the cells."""

    counts: Counter[tuple[str, str]]
    wrong: list[str]

    def check(self) -> None:
        """Print the table, and fail if an answer was wrong, or if there was none at all."""
        print(f"\n{self}")
        assert not self.wrong, "\n".join([f"{len(self.wrong)} cells are wrong:", *self.wrong[:40]])
        assert sum(count for (_, verdict), count in self.counts.items() if verdict == "right")

    def __str__(self) -> str:
        forms = sorted({form for form, _ in self.counts})
        lines = [f"{'form':24}{'tried':>7}{'right':>7}{'refused':>9}{'wrong':>7}"]
        for form in [*forms, "all"]:
            found = {
                verdict: sum(
                    count
                    for (other, kind), count in self.counts.items()
                    if kind == verdict and form in (other, "all")
                )
                for verdict in ("right", "refused", "wrong")
            }
            lines.append(
                f"{form:24}{sum(found.values()):>7}{found['right']:>7}{found['refused']:>9}{found['wrong']:>7}"
            )
        return "\n".join(lines)


def training_frame(kind: str, rows: int = 240, category: str = CATEGORY) -> tuple[pd.DataFrame, Any]:
    """Return a DataFrame with a column of categories, and a target that depends on each column."""
    random = np.random.default_rng(7)
    values = pd.Index(KINDS[kind])
    codes = np.arange(rows) % len(values)
    size = random.random(rows)
    size[::9] = np.nan
    frame = pd.DataFrame(
        {
            category: pd.Categorical.from_codes(codes, values),
            SIZE: size,
            COUNT: random.integers(0, 9, rows),
            WILD: random.random(rows) > 0.5,
        }
    )
    return frame, codes * 5.0 + np.nan_to_num(size) + frame[COUNT] * 0.1 + frame[WILD]


def frames(trained: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield frames for requests, with their names; the dtypes are those of the training."""
    few = trained.iloc[1:8].reset_index(drop=True)
    yield "some rows", few
    yield "one row", few.iloc[2:3].reset_index(drop=True)
    yield "no row", few.iloc[:0]
    yield "other order", few[few.columns[::-1]]
    yield "missing number", few.assign(**{SIZE: [np.nan, *few[SIZE][1:]]})
    category = trained.columns[0]
    gap = few[category].astype(object).where(np.arange(len(few)) != 3, None)
    yield "missing category", few.assign(**{category: gap.astype(trained[category].dtype)})
    yield (
        "narrow numbers",
        few.assign(**{SIZE: few[SIZE].astype(np.float32), COUNT: few[COUNT].astype(np.int8)}),
    )
    nullable = few[COUNT].astype("Int64").where(np.arange(len(few)) != 1, pd.NA)
    yield "nullable integers", few.assign(**{COUNT: nullable, WILD: few[WILD].astype("boolean")})


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with categories as ordinary values."""
    found = frame.copy()
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            known = column.cat.categories.dtype
            holds_gaps = getattr(known, "kind", "O") in "fM" or not column.hasnans
            found[name] = (
                column.astype(known) if holds_gaps else column.astype(object).where(column.notna(), None)
            )
    return found


def forms(
    frame: pd.DataFrame, declared: Sequence[MetadataTensor], trained: Sequence[str]
) -> Iterator[tuple[str, InferenceRequest]]:
    """Yield the requests of a frame, with the name of their form."""
    values = plain(frame)
    yield "pd category", PandasCodec.encode_request(frame, use_bytes=False)
    yield "pd", PandasCodec.encode_request(values, use_bytes=False)
    holds_dates = values[trained[0]].dtype.kind == "M"
    if not holds_dates:  # JSON has none
        yield (
            "pd_json",
            InferenceRequest(
                inputs=[_json_column(str(name), column) for name, column in values.items()],
                parameters=Parameters(content_type="pd"),
            ),
        )
    if len(declared) == len(trained):
        tensors = dict(zip(trained, declared, strict=True))
        columns = [_column(tensors[name], column) for name, column in values.items()]
        if not any(column is None for column in columns):
            yield "declared", InferenceRequest(inputs=columns)
    if not (holds_dates and values[trained[0]].hasnans):
        yield "plain columns", InferenceRequest(inputs=_plain_inputs(values))
    if list(frame.columns) == list(trained):
        yield from _matrices(values)


def _json_column(name: str, column: Any) -> RequestInput:
    texts = [json.dumps(_json_value(cell)) for cell in column]
    return RequestInput(name, [len(texts), 1], "BYTES", texts, Parameters(content_type="pd_json"))


def _json_value(cell: Any) -> Any:
    if _is_missing(cell):
        return None
    if isinstance(cell, pd.Timestamp):
        return cell.isoformat()
    return cell.item() if isinstance(cell, np.generic) else cell


def _is_missing(cell: Any) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float) and np.isnan(cell))


def _column(declared: MetadataTensor, column: Any) -> RequestInput | None:
    """The tensor that the metadata describes, or None if it has no way to write a missing value."""
    cells = [None if _is_missing(cell) else cell for cell in column.tolist()]
    data: Any = cells
    if declared.datatype is Datatype.BYTES:
        if None in cells:
            return None
        content_type = declared.parameters.content_type if declared.parameters is not None else None
        data = [
            json.dumps(_json_value(cell))
            if content_type == "pd_json"
            else cell.isoformat()
            if isinstance(cell, pd.Timestamp)
            else str(int(cell) if isinstance(cell, bool) else cell)
            for cell in cells
        ]
    elif declared.datatype in (Datatype.FP32, Datatype.FP64):
        data = np.array([np.nan if cell is None else float(cell) for cell in cells], declared.datatype.dtype)
    elif None in cells:
        return None
    else:
        data = np.array(cells, declared.datatype.dtype)
    return RequestInput(declared.name, [len(cells), 1], declared.datatype, data)


def _plain_inputs(values: pd.DataFrame) -> list[RequestInput]:
    """The columns by their own dtypes, without any parameter."""
    found = PandasCodec.encode_request(values, use_bytes=False).inputs
    for tensor in found:
        kind = tensor.parameters.content_type if tensor.parameters is not None else None
        tensor.parameters = Parameters(content_type=kind) if kind in ("pd_json", "datetime") else None
    return found


def _matrices(values: pd.DataFrame) -> Iterator[tuple[str, InferenceRequest]]:
    cells = [column.tolist() for _, column in values.items()]
    flat = [cell for row in zip(*cells, strict=True) for cell in row]
    shape = list(values.shape)
    if all(dtype.kind in "biufO" for dtype in values.dtypes) and all(
        _is_missing(cell) or (isinstance(cell, int | float) and abs(cell) < 2**53) for cell in flat
    ):
        data = np.array([np.nan if _is_missing(cell) else float(cell) for cell in flat])
        yield "matrix FP64", InferenceRequest(inputs=[RequestInput("rows", shape, "FP64", data)])
        yield "matrix FP32", InferenceRequest(inputs=[RequestInput("rows", shape, "FP32", data.astype("f4"))])
    if not any(map(_is_missing, flat)):
        texts = [cell.isoformat() if isinstance(cell, pd.Timestamp) else str(cell) for cell in flat]
        yield "matrix BYTES", InferenceRequest(inputs=[RequestInput("rows", shape, "BYTES", texts)])


async def tried(implementation: str, learners: Sequence[Learner], workers: int) -> Verdicts:
    """Serve the models, send every cell over every way, and judge the answers; with workers, a share of the
    cells."""
    models = [
        ModelSettings(
            name=f"{learner.name}{suffix}",
            implementation=implementation,
            parameters={"uri": str(learner.artifact)},
            **batching,
        )
        for learner in learners
        for suffix, batching in (("", {}), ("-batched", {"max_batch_size": 16, "max_batch_time": 0.01}))
    ]
    verdicts = Verdicts(Counter(), [])
    async with served(models, parallel_workers=workers) as found:
        assert found.kernel.problems() == []
        cells = [
            cell
            for learner in learners
            for cell in _cells(learner, found.kernel.model_metadata(learner.name).inputs)
        ]
        if workers:
            cells = cells[::SHARE]
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            with grpc.insecure_channel(found.grpc) as channel:
                for way in WAYS:
                    answers = await _answers(way, cells, found, client, channel)
                    for cell, answer in zip(cells, answers, strict=True):
                        _judge(cell, way, answer, verdicts)
    return verdicts


def _cells(learner: Learner, declared: Sequence[MetadataTensor]) -> Iterator[Cell]:
    trained = list(learner.trained.columns)
    for name, frame in frames(learner.trained):
        for form, request in forms(frame, declared, trained):
            request.outputs = [RequestOutput(learner.output)]
            sent = frame[trained]
            if learner.as_sent and form != "pd category":
                sent = plain(sent)
                if form not in ("pd", "declared"):
                    sent = _without_nullable(sent)
                if form == "matrix FP32" and isinstance(request.inputs[0].data, np.ndarray):
                    sent = sent.astype(np.float32)
            yield Cell(learner, name, form, request, _answer(learner, sent))


def _answer(learner: Learner, frame: pd.DataFrame) -> Any:
    try:
        return np.asarray(learner.predict(frame))
    except Exception as error:  # the framework refuses the frame, in its own way
        return error


def _without_nullable(frame: pd.DataFrame) -> pd.DataFrame:
    found = {
        name: column.astype(np.float64 if column.hasnans else column.dtype.numpy_dtype)
        for name, column in frame.items()
        if hasattr(column.dtype, "numpy_dtype") and column.dtype.kind in "biuf"
    }
    return frame.assign(**found)


async def _answers(
    way: str, cells: Sequence[Cell], found: Served, client: httpx.AsyncClient, channel: grpc.Channel
) -> list[Any]:
    """Return an `InferenceResponse`, or the text of a refusal, or an exception for anything else."""
    if way == "in batches":
        return await asyncio.gather(*(_in_process(cell, found) for cell in cells))
    if way == "grpc":
        return await asyncio.to_thread(lambda: [_over_grpc(cell, channel) for cell in cells])
    return [await _over_rest(cell, found, client, way == "binary") for cell in cells]


def _named(cell: Cell, suffix: str = "") -> InferenceRequest:
    cell.request.model_name = f"{cell.learner.name}{suffix}"
    return cell.request


async def _in_process(cell: Cell, found: Served) -> Any:
    try:
        return await found.kernel.infer(_named(cell, "-batched"))
    except MLSrvError as error:
        return str(error) if error.code is Code.INVALID_ARGUMENT else error


async def _over_rest(cell: Cell, found: Served, client: httpx.AsyncClient, is_binary: bool) -> Any:
    url = f"{found.rest}/v2/models/{cell.learner.name}/infer"
    if is_binary:
        length, pieces = binary.encode_request(_named(cell))
        answer = await client.post(url, content=b"".join(pieces), headers={HEADER: str(length)})
    else:
        answer = await client.post(url, content=wire_json.encode_request(_named(cell)))
    if answer.status_code == 400:
        return answer.json()["error"]
    if answer.status_code != 200:
        return RuntimeError(f"{answer.status_code}: {answer.text}")
    if is_binary:
        return binary.decode_response(answer.content, int(answer.headers[HEADER]))
    return wire_json.decode_response(answer.content)


def _over_grpc(cell: Cell, channel: grpc.Channel) -> Any:
    try:
        body = encode_request(_named(cell))
        return decode_response(channel.unary_unary(f"/{INFERENCE}/ModelInfer")(body, timeout=SECONDS))
    except grpc.RpcError as error:
        return error.details() if error.code() is grpc.StatusCode.INVALID_ARGUMENT else error


def _judge(cell: Cell, way: str, answer: Any, verdicts: Verdicts) -> None:
    where = f"{cell.learner.name}, {cell.frame}, {cell.form}, {way}"
    is_refused_there = isinstance(cell.expected, Exception)
    verdict, why = "right", ""
    if isinstance(answer, str):
        verdict = "refused"
        if not is_refused_there and cell.form in cell.learner.must:
            why = f"was refused: {answer}"
        elif len(answer) < 10 or "\n" in answer or "Traceback" in answer:
            why = f"was refused without a sentence: {answer!r}"
    elif isinstance(answer, Exception):
        why = f"failed: {answer}"
    elif is_refused_there and not answer.outputs[0].shape[0]:
        pass  # an answer without a row holds no other number
    elif is_refused_there:
        why = f"was answered, but the framework says {cell.expected}"
    else:
        values = NumpyCodec.decode_output(answer.outputs[0])
        if not _same(values, cell.expected):
            why = f"gave {values.tolist()}, not {cell.expected.tolist()}"
    if why:
        verdict = "wrong"
        verdicts.wrong.append(f"{where}: {' '.join(why.split())[:400]}")
    verdicts.counts[cell.form, verdict] += 1


def _same(found: Any, expected: Any) -> bool:
    if found.size == expected.size == 0:
        return len(found) == len(expected)
    wanted = expected.reshape(len(expected), -1)
    if found.shape != wanted.shape:
        return False
    if found.dtype == object:
        texts = [cell.decode() if isinstance(cell, bytes) else cell for cell in found.ravel()]
        return texts == [str(cell) for cell in wanted.ravel()]
    return np.allclose(found.astype(float), wanted.astype(float), rtol=1e-6, atol=1e-9, equal_nan=True)
