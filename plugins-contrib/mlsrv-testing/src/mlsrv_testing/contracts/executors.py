"""Contract of executors: the cases that each must pass."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from mlsrv.context import CallContext
from mlsrv.errors import DeadlineExceeded, MLSrvError, Unsupported
from mlsrv.kernel.kernel import Kernel
from mlsrv.metrics import Meter, Metric, Recorder, nothing
from mlsrv.plugins.offers import MeterOffer
from mlsrv.settings import ModelSettings
from mlsrv.testing.requests import tensor_request, text_request
from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.types import InferenceRequest, RequestInput
from mlsrv_testing.contracts.running import eventually, notes, run
from mlsrv_testing.offering import Offering

SCRIPTED = "mlsrv.testing.ScriptedModel"
ECHO = "mlsrv.testing.EchoModel"
THREADED = "mlsrv.testing.ThreadedEchoModel"


class ExecutorContract(ABC):
    """Cases for an `Executor`. Override `executor` and `plugins`.

    Attributes:
        server_settings: server settings that the executor needs.
    """

    server_settings: ClassVar[Mapping[str, Any]] = {}

    @property
    @abstractmethod
    def executor(self) -> str:
        """The name under which it is offered."""

    @abstractmethod
    def plugins(self) -> Sequence[object]:
        """The plugins that offer it and its settings; no others are loaded. The kernel's own are always
        there."""

    def test_it_takes_the_model(self) -> None:
        """A model whose settings name the executor runs there, whatever `claims` says.

        Guards against: an executor that refuses what it was told to run.
        """

        async def case() -> None:
            async with self._kernel(self._model(ECHO)) as kernel:
                assert await _ask(kernel, "hello") == "hello"

        run(case())

    @pytest.mark.parametrize("implementation", [ECHO, THREADED])
    def test_answers_are_complete(self, implementation: str) -> None:
        """Name, version, id, parameters and data of an answer, from async and from plain `predict`.

        Guards against: parts of a message that are lost on the way to where the model is, and back.
        """

        async def case() -> None:
            async with self._kernel(self._model(implementation, version="v1")) as kernel:
                response = await kernel.infer(text_request("m", ["a", "b"], id="mine"))
                assert (response.model_name, response.model_version, response.id) == ("m", "v1", "mine")
                assert response.outputs[0].data == ["a", "b"]

        run(case())

    def test_every_datatype_survives(self) -> None:
        """Tensors come back as they were sent: values, shapes, empty ones too.

        Guards against: copies that lose a dtype, NaN, byte order, or bytes that are no text.
        """

        async def case() -> None:
            async with self._kernel(self._model(ECHO)) as kernel:
                for datatype in Datatype:
                    for data, shape in _tensors(datatype):
                        await echoed(kernel, datatype, data, shape)

        async def echoed(kernel: Kernel, datatype: Datatype, data: Any, shape: list[int]) -> None:
            tensor = RequestInput(name="x", shape=shape, datatype=datatype, data=data)
            request = InferenceRequest(inputs=[tensor], model_name="m")
            (output,) = (await kernel.infer(request)).outputs
            assert (output.name, output.datatype, output.shape) == ("x", datatype, shape)
            sent = RequestInput(name="x", shape=shape, datatype=datatype, data=data)
            got = RequestInput(name="x", shape=shape, datatype=datatype, data=output.data)
            assert got == sent, f"{datatype} {shape} came back as {output.data!r}"

        run(case())

    def test_a_large_tensor_survives(self) -> None:
        """Sixteen MiB there and back, several at once.

        Guards against: a buffer that is reused before its reader is done.
        """

        async def case() -> None:
            arrays = [np.arange(2**21, dtype=np.float64) + number for number in range(4)]
            async with self._kernel(self._model(ECHO)) as kernel:
                answers = await asyncio.gather(*(kernel.infer(tensor_request("m", one)) for one in arrays))
                for array, answer in zip(arrays, answers, strict=True):
                    assert np.array_equal(answer.outputs[0].data, array)

        run(case())

    def test_many_requests_at_once(self) -> None:
        """Each of a hundred concurrent requests gets its own answer.

        Guards against: answers that are matched to the wrong request.
        """

        async def case() -> None:
            async with self._kernel(self._model(ECHO)) as kernel:
                texts = [str(number) for number in range(100)]
                assert await asyncio.gather(*(_ask(kernel, text) for text in texts)) == texts

        run(case())

    def test_the_context_travels(self) -> None:
        """Request id, headers, priority and deadline are known to the model.

        Guards against: a hop that drops the context, so that logs and traces end there.
        """

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED)) as kernel:
                context = CallContext.with_timeout(50, request_id="r1", headers={"x-a": "b"}, priority=3)
                response = await kernel.infer(text_request("m", ["context"]), context)
                assert json.loads(response.outputs[0].data[0]) == {
                    "id": "r1",
                    "headers": {"x-a": "b"},
                    "priority": 3,
                    "deadline": True,
                }

        run(case())

    def test_metadata_travels(self) -> None:
        """The kernel knows the declarations of the model, and whether it streams.

        Guards against: models that lose their declared inputs where they are placed.
        """

        async def case() -> None:
            tensor = {"name": "input", "datatype": "BYTES", "shape": [-1]}
            async with self._kernel(self._model(SCRIPTED, inputs=[tensor], platform="toy")) as kernel:
                metadata = kernel.model_metadata("m")
                assert (metadata.platform, [one.name for one in metadata.inputs]) == ("toy", ["input"])
                info = kernel.handle("m").info
                assert info is not None
                assert (info.streams, info.predicts, list(info.handlers)) == (True, True, ["double"])

        run(case())

    @pytest.mark.parametrize("command", ["raise", "refuse", "exit", "wrong"])
    def test_failures_read_the_same_as_in_process(self, command: str) -> None:
        """Class, code and sentence of an error do not depend on where the model runs, and the next request is
        answered.

        Guards against: error texts that change with the number of workers, and a `sys.exit` that ends the
            server.
        """

        async def failure(kernel: Kernel) -> tuple[type, str, str]:
            with pytest.raises(MLSrvError) as caught:
                await kernel.infer(text_request("m", [command]))
            assert await _ask(kernel, "echo") == "echo"
            return type(caught.value), str(caught.value.code), str(caught.value)

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED)) as kernel:
                here = await failure(kernel)
            async with self._kernel(self._model(SCRIPTED).copy(), executor="inline") as kernel:
                assert here == await failure(kernel)

        run(case())

    def test_a_deadline_is_kept_and_the_model_told(self, tmp_path: Path) -> None:
        """A request whose deadline passes fails then, and its work is cancelled.

        Guards against: work that goes on for clients who have long given up.
        """

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED, notes=tmp_path / "notes")) as kernel:
                with pytest.raises(DeadlineExceeded):
                    await kernel.infer(text_request("m", ["wait"]), CallContext.with_timeout(0.3))
                await eventually("the cancellation", lambda: "cancelled" in notes(tmp_path / "notes"))
                assert await _ask(kernel, "echo") == "echo"

        run(case())

    def test_a_cancelled_request_is_cancelled_there(self, tmp_path: Path) -> None:
        """Cancelling the caller cancels the model's work, and disturbs nothing else.

        Guards against: a late answer to a request that has ended already, which stops the dispatch loop.
        """

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED, notes=tmp_path / "notes")) as kernel:
                task = asyncio.ensure_future(kernel.infer(text_request("m", ["wait"])))
                await eventually("the request", lambda: "waiting" in notes(tmp_path / "notes"))
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await eventually("the cancellation", lambda: "cancelled" in notes(tmp_path / "notes"))
                assert await _ask(kernel, "echo") == "echo"

        run(case())

    def test_streams(self) -> None:
        """All responses of a stream, in order, with the id of its request.

        Guards against: streams that fall back to one answer where the model is elsewhere.
        """

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED)) as kernel:
                request = text_request("m", ["count"], id="s")
                found = [(one.id, one.outputs[0].data[0]) async for one in kernel.stream(request)]
                assert found == [("s", str(number)) for number in range(5)]

        run(case())

    def test_a_stream_that_breaks_keeps_what_it_sent(self) -> None:
        """The responses before an error arrive, then the error does.

        Guards against: an error that overtakes or swallows responses.
        """

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED)) as kernel:
                responses = kernel.stream(text_request("m", ["break"]))
                assert [(await anext(responses)).outputs[0].data[0] for _ in range(2)] == ["0", "1"]
                with pytest.raises(MLSrvError) as caught:
                    await anext(responses)
                assert str(caught.value) == "Model m failed: ValueError: the script says so"

        run(case())

    def test_closing_a_stream_stops_the_model(self, tmp_path: Path) -> None:
        """When the consumer goes away, the model's generator is closed.

        Guards against: models that generate without a reader.
        """

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED, notes=tmp_path / "notes")) as kernel:
                responses = kernel.stream(text_request("m", ["endless"]))
                for _ in range(3):
                    await anext(responses)
                await responses.aclose()  # type: ignore[attr-defined]  # an async generator
                await eventually("the end of the stream", lambda: "closed" in notes(tmp_path / "notes"))
                assert await _ask(kernel, "echo") == "echo"

        run(case())

    def test_custom_handlers(self) -> None:
        """They are called where the model is, and others are refused.

        Guards against: handlers that run on an instance which was never loaded.
        """

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED)) as kernel:
                assert await kernel.call("m", None, "double", {"value": 4}) == 8
                with pytest.raises(Unsupported):
                    await kernel.call("m", None, "predict", {})

        run(case())

    def test_metrics_arrive(self) -> None:
        """Metrics that the model's code logs reach the kernel's meters, with the model's labels.

        Guards against: metrics of user code that exist only without workers, or only with them.
        """

        async def case() -> None:
            async with self._kernel(self._model(SCRIPTED, version="v1")) as kernel:
                await _ask(kernel, "log")
                meter = kernel.meters["contract"]
                assert isinstance(meter, _Recorder)
                await eventually("the metric", lambda: bool(meter.recorded))
                assert meter.recorded == [("scripted", 1.0, ("m", "v1"))]

        run(case())

    def test_a_model_that_cannot_be_loaded(self) -> None:
        """The reason reads as in process, and another model loads all the same.

        Guards against: a bad model that takes its whole pool along.
        """

        async def case() -> None:
            bad, good = self._model(SCRIPTED, name="bad", fail=True), self._model(ECHO)
            async with self._kernel(bad, good, healthy=False) as kernel:
                assert kernel.handle("bad").reason == (
                    "Model bad failed to load: ValueError: there are no weights"
                )
                assert await _ask(kernel, "hello") == "hello"

        run(case())

    def test_loads_and_unloads_are_paired(self, tmp_path: Path) -> None:
        """Every instance that was loaded is unloaded once: after a reload, an unload, and at the end.

        Guards against: memory of models that are long gone.
        """

        async def case() -> None:
            path = tmp_path / "notes"
            async with self._kernel(self._model(SCRIPTED, notes=path)) as kernel:
                assert notes(path) == ["loaded"]
                await kernel.load("m")
                await eventually("the unload", lambda: notes(path) == ["loaded", "loaded", "unloaded"])
                await kernel.unload("m")
                assert notes(path).count("unloaded") == 2
                await kernel.load("m")
                assert await _ask(kernel, "echo") == "echo"
            assert (notes(path).count("loaded"), notes(path).count("unloaded")) == (3, 3)

        run(case())

    def test_code_from_the_models_folder(self, tmp_path: Path) -> None:
        """Two models whose folders have modules of the same name each run their own.

        Guards against: one model's functions that see the globals of another's module.
        """

        async def case() -> None:
            models = []
            for name in ("one", "two"):
                folder = tmp_path / name
                folder.mkdir()
                (folder / "code_of_it.py").write_text(_CODE.format(name=name), encoding="utf-8")
                model = self._model("code_of_it.Model", name=name)
                model.source = folder / "model-settings.json"
                models.append(model)
            async with self._kernel(*models) as kernel:
                assert [await _ask(kernel, "x", name) for name in ("one", "two")] == ["one", "two"]

        run(case())

    def test_it_starts_again(self) -> None:
        """A second kernel, after the first one ended, works as the first.

        Guards against: sockets, processes and temporary files that an end leaves behind.
        """

        async def case() -> None:
            for _ in range(2):
                async with self._kernel(self._model(ECHO)) as kernel:
                    assert await _ask(kernel, "hello") == "hello"
                    assert kernel.ready

        run(case())

    def _model(
        self, implementation: str, name: str = "m", version: str | None = None, **fields: Any
    ) -> ModelSettings:
        extra = {key: fields.pop(key) for key in ("notes", "fail") if key in fields}
        if "notes" in extra:
            extra["notes"] = str(extra["notes"])
        return ModelSettings(
            name=name,
            implementation=implementation,
            parameters={"version": version, "extra": extra},
            **fields,
        )

    @asynccontextmanager
    async def _kernel(
        self, *models: ModelSettings, executor: str | None = None, healthy: bool = True
    ) -> AsyncIterator[Kernel]:
        kernel = Kernel(
            {**self.server_settings, "executor": executor or self.executor},
            plugins=[*self.plugins(), Offering(MeterOffer("contract", _Recorder), name="contract")],
            models=models,
            discover=False,
        )
        async with kernel:
            await kernel.loaded()
            if healthy:
                assert kernel.problems() == []
            yield kernel


class _Recorder(Meter):
    """Keeps what model code records."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.recorded: list[tuple[str, float, tuple[str, ...]]] = []

    def bind(self, metric: Metric, labels: Sequence[str]) -> Recorder:
        if metric.name != "scripted":
            return nothing
        return lambda value: self.recorded.append((metric.name, value, tuple(labels)))


_CODE = """
from mlsrv import MLModel
from mlsrv.types import InferenceResponse, ResponseOutput

NAME = "{name}"

class Model(MLModel):
    async def predict(self, payload):
        output = ResponseOutput(name="output", shape=[1], datatype="BYTES", data=[NAME])
        return InferenceResponse(outputs=[output])
"""


def _tensors(datatype: Datatype) -> list[tuple[Any, list[int]]]:
    if datatype is Datatype.BYTES:
        return [(["text", "", "é\x00"], [3]), ([b"\xff\x00", b""], [2]), ([], [0])]
    dtype = datatype.dtype
    values = np.array([0, 1, 1, 0, 1, 1]).astype(dtype)
    extremes = values.copy()
    if datatype.is_integer:
        limits = np.iinfo(values.dtype)
        extremes[:2] = limits.min, limits.max
    elif datatype.is_float and datatype is not Datatype.BF16:
        extremes[:3] = np.nan, np.inf, -np.inf
    return [(values, [6]), (extremes, [2, 3]), (values[:0], [0, 3]), (values[:1], [])]


async def _ask(kernel: Kernel, text: str, name: str = "m") -> Any:
    return (await kernel.infer(text_request(name, [text]))).outputs[0].data[0]
