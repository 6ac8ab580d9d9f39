"""Requests against the tensors that a model declares."""

from collections.abc import AsyncIterator

import pytest

from mlsrv.context import CallContext
from mlsrv.dataplane.input_checks import DeclaredTensors
from mlsrv.errors import InferenceError, InputsNotFound, MLSrvError, OutputNotFound
from mlsrv.executor import ModelInfo
from mlsrv.types import InferenceRequest, InferenceResponse, MetadataTensor, RequestInput, RequestOutput


def declared(**shapes: list[int]) -> DeclaredTensors:
    inputs = tuple(MetadataTensor(name=name, datatype="FP32", shape=shape) for name, shape in shapes.items())
    optional = MetadataTensor(name="extra", datatype="BYTES", shape=[-1], parameters={"optional": True})
    outputs = (MetadataTensor(name="y", datatype="FP32", shape=[-1]),)
    return DeclaredTensors("m", ModelInfo(inputs=(*inputs, optional), outputs=outputs))


def tensor(name: str = "x", shape: tuple[int, ...] = (2, 4), datatype: str = "FP32") -> RequestInput:
    return RequestInput(name=name, shape=shape, datatype=datatype, data=[])


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 4), [2, 4]),
        ((2, 4), [-1, 4]),
        ((0, 4), [-1, 4]),
        ((2, 4), [-1, -1]),
        ((3,), [3]),
        ((3,), [-1, 1]),
        ((3,), [3, 1]),
        ((3, 1), [-1]),
        ((3, 1), [3]),
        ((), []),
        ((2,), []),
        ((2, 4), []),
    ],
)
def test_shapes_that_fit(shape: tuple[int, ...], wanted: list[int]) -> None:
    declared(x=wanted).check(InferenceRequest(inputs=[tensor(shape=shape)]))


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 5), [-1, 4]),
        ((2,), [-1, 4]),
        ((2, 4), [-1]),
        ((2, 4, 1), [-1, 4]),
        ((4,), [3, 1]),
        ((4, 1), [3]),
        ((), [1]),
    ],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...], wanted: list[int]) -> None:
    with pytest.raises(InferenceError) as caught:
        declared(x=wanted).check(InferenceRequest(inputs=[tensor(shape=shape)]))
    assert str(caught.value) == (
        f'Model m, input "x": shape {list(shape)} was sent, the model takes {wanted} (-1 is any size).'
    )


def request(*inputs: RequestInput, outputs: list[str] | None = None) -> InferenceRequest:
    return InferenceRequest(inputs=list(inputs), outputs=outputs and [RequestOutput(name=o) for o in outputs])


@pytest.mark.parametrize(
    ("sent", "error", "sentence"),
    [
        (
            request(tensor("x"), tensor("z")),
            InputsNotFound,
            "Model m does not know the inputs z; it takes extra, x.",
        ),
        (request(), InputsNotFound, "Model m needs the inputs x; it takes extra, x."),
        (
            request(tensor(datatype="FP64")),
            InferenceError,
            'Model m, input "x": datatype FP64 was sent, the model takes FP32.',
        ),
        (request(tensor(), outputs=["y", "z"]), OutputNotFound, 'Model m has no output "z"; it has y.'),
    ],
)
async def test_other_deviations(sent: InferenceRequest, error: type[MLSrvError], sentence: str) -> None:
    guard = declared(x=[-1, 4])

    async def never(*_: object) -> InferenceResponse:
        raise AssertionError

    with pytest.raises(error) as caught:
        await guard(sent, CallContext(), never)
    assert str(caught.value) == sentence


async def test_a_valid_request_is_passed_on() -> None:
    guard = declared(x=[-1, 4])
    response = InferenceResponse(model_name="m")

    async def answer(request: InferenceRequest, context: CallContext) -> InferenceResponse:
        return response

    assert await guard(request(tensor(), outputs=["y"]), CallContext(), answer) is response


def test_a_model_that_declares_only_outputs_takes_any_input() -> None:
    info = ModelInfo(outputs=(MetadataTensor(name="y", datatype="FP32", shape=[-1]),))
    DeclaredTensors("m", info).check(request(tensor("whatever"), outputs=["y"]))


async def test_each_request_of_a_stream_is_checked() -> None:
    guard = declared(x=[-1, 4])

    async def requests() -> AsyncIterator[InferenceRequest]:
        yield request(tensor())
        yield request(tensor("z"))

    async def echo(
        requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        async for _ in requests:
            yield InferenceResponse(model_name="m")

    responses = guard.stream(requests(), CallContext(), echo)
    await anext(responses)
    with pytest.raises(InputsNotFound):
        await anext(responses)
