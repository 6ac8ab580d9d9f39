"""Each case of the executor suite fails for an executor that is wrong in just that way."""

import asyncio
import contextlib
import gc
import importlib
import inspect
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from contract_toys import InlineSuite

import mlsrv
from mlsrv import CallContext, ModelSettings
from mlsrv.errors import MLSrvError, ModelFailed, Unsupported
from mlsrv.executor import Executor, ModelInfo, Placement
from mlsrv.hosting.catalog import Catalog
from mlsrv.hosting.inline_executor import InlineExecutor
from mlsrv.hosting.model_host import ModelHost
from mlsrv.testing import Offering
from mlsrv.types import InferenceRequest, InferenceResponse


class Around(Placement):
    """A placement around another; the mutants override what they do wrong."""

    def __init__(self, inner: Placement) -> None:
        self.inner = inner
        self.info = inner.info

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        return await self.inner.infer(request, context)

    def stream(
        self, requests: AsyncIterator[InferenceRequest], context: CallContext
    ) -> AsyncIterator[InferenceResponse]:
        return self.inner.stream(requests, context)

    async def call(self, method: str, arguments: Any, context: CallContext) -> Any:
        return await self.inner.call(method, arguments, context)

    async def unload(self) -> None:
        await self.inner.unload()


class NoId(Around):
    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        response = await self.inner.infer(request, context)
        response.id = None
        return response


class Rounds(Around):
    """Loses what does not fit a float, and bytes that are no text."""

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        response = await self.inner.infer(request, context)
        for output in response.outputs:
            if output.datatype == "BYTES":
                output.data = [
                    one.decode(errors="replace") if isinstance(one, bytes) else one for one in output.data
                ]
            else:
                output.data = (output.data + 1).astype(output.data.dtype)
        return response


class OneBuffer(Around):
    """Returns every large tensor in the same buffer."""

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        response = await self.inner.infer(request, context)
        if not hasattr(self, "buffer"):
            self.buffer = response.outputs[0].data
        self.buffer[:] = response.outputs[0].data
        response.outputs[0].data = self.buffer
        return response


class Mixed(Around):
    """Hands out the answers one behind."""

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        response = await self.inner.infer(request, context)
        previous, self.previous = getattr(self, "previous", response), response
        return previous


class NoContext(Around):
    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        return await self.inner.infer(request, CallContext(request_id=context.request_id))


class NoInfo(Around):
    def __init__(self, inner: Placement) -> None:
        super().__init__(inner)
        self.info = ModelInfo()


class Prefixes(Around):
    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        try:
            return await self.inner.infer(request, context)
        except MLSrvError as error:
            raise ModelFailed(f"builtins.ValueError: {error}") from error


class GoesOn(Around):
    """Does not cancel what runs."""

    tasks: set[Any] = set()  # kept, so that they are not collected

    async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
        task = asyncio.ensure_future(self.inner.infer(request, context))
        self.tasks.add(task)
        return await asyncio.shield(task)


class OneResponse(Around):
    async def stream(self, requests: Any, context: CallContext) -> Any:
        async with contextlib.aclosing(self.inner.stream(requests, context)) as responses:  # type: ignore[type-var]  # an async generator
            yield await anext(responses)


class Collects(Around):
    async def stream(self, requests: Any, context: CallContext) -> Any:
        for response in [one async for one in self.inner.stream(requests, context)]:
            yield response


class NeverCloses(Around):
    kept: list[Any] = []  # kept, so that they are not closed by being collected

    async def stream(self, requests: Any, context: CallContext) -> Any:
        responses = self.inner.stream(requests, context)
        self.kept.append(responses)
        async for response in responses:
            yield response


class NoHandlers(Around):
    async def call(self, method: str, arguments: Any, context: CallContext) -> Any:
        raise Unsupported("not here")


class NeverUnloads(Around):
    async def unload(self) -> None:
        return None


class Wrong(InlineExecutor):
    """Places models in process, behind one of the mutants above."""

    around: type[Around] = Around

    async def load(self, model: ModelSettings) -> Placement:
        return self.around(await super().load(model))


class Choosy(Wrong):
    async def load(self, model: ModelSettings) -> Placement:
        raise mlsrv.errors.ModelLoadError(f"Model {model.name} is none for me.")


class Unmetered(Wrong):
    async def load(self, model: ModelSettings) -> Placement:
        host = ModelHost(model, self.kernel.catalog, self._threads)
        await host.load()
        return host


class DiesWithItsModel(Wrong):
    broken = False

    async def load(self, model: ModelSettings) -> Placement:
        if "bad" in model.name:
            self.broken = True
        await asyncio.sleep(0.05)
        if self.broken:
            raise mlsrv.errors.ModelLoadError("The pool has died.")
        return await super().load(model)


class SharesModules(Wrong):
    """Imports the code of models through `sys.path`, as one interpreter would."""

    async def load(self, model: ModelSettings) -> Placement:
        if model.source is None:
            return await super().load(model)
        module, _, name = str(model.implementation).rpartition(".")
        sys.path.insert(0, str(model.source.parent))
        try:
            cls = getattr(importlib.import_module(module), name)
        finally:
            sys.path.pop(0)
        host = ModelHost(
            model.copy(implementation=cls, source=None), Catalog(self.kernel.plugins), self._threads
        )
        await host.load()
        return host


class OnlyOnce(Wrong):
    entered = 0

    async def __aenter__(self) -> Executor:
        OnlyOnce.entered += 1
        if OnlyOnce.entered % 2 == 0:
            raise OSError("the socket is still there")
        return self


MUTANTS: dict[str, type] = {
    "test_it_takes_the_model": Choosy,
    "test_answers_are_complete": NoId,
    "test_every_datatype_survives": Rounds,
    "test_a_large_tensor_survives": OneBuffer,
    "test_many_requests_at_once": Mixed,
    "test_the_context_travels": NoContext,
    "test_metadata_travels": NoInfo,
    "test_failures_read_the_same_as_in_process": Prefixes,
    "test_a_deadline_is_kept_and_the_model_told": GoesOn,
    "test_a_cancelled_request_is_cancelled_there": GoesOn,
    "test_streams": OneResponse,
    "test_a_stream_that_breaks_keeps_what_it_sent": Collects,
    "test_closing_a_stream_stops_the_model": NeverCloses,
    "test_custom_handlers": NoHandlers,
    "test_metrics_arrive": Unmetered,
    "test_a_model_that_cannot_be_loaded": DiesWithItsModel,
    "test_loads_and_unloads_are_paired": NeverUnloads,
    "test_code_from_the_models_folder": SharesModules,
    "test_it_starts_again": OnlyOnce,
}
PARAMETERS: dict[str, list[Any]] = {
    "test_answers_are_complete": ["mlsrv.testing.EchoModel"],
    "test_failures_read_the_same_as_in_process": ["raise", "refuse", "exit", "wrong"],
}


def suite_of(mutant: type) -> InlineSuite:
    cls: Any = mutant if issubclass(mutant, Executor) else type("Mutant", (Wrong,), {"around": mutant})

    class Suite(InlineSuite):
        executor = "mutant"

        def plugins(self) -> Sequence[object]:
            return [Offering(mlsrv.ExecutorOffer("mutant", cls))]

    return Suite()


def test_every_case_has_a_mutant() -> None:
    assert set(MUTANTS) == {name for name in dir(InlineSuite) if name.startswith("test_")}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("case", MUTANTS)
def test_a_case_fails_for_its_mutant(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlsrv_testing.contracts import executors, running

    async def eventually(what: str, test: Any, seconds: float = 10.0) -> None:
        await running.eventually(what, test, 0.3)

    monkeypatch.setattr(executors, "eventually", eventually)  # a mutant is not worth ten seconds
    function = getattr(suite_of(MUTANTS[case]), case)
    takes_path = "tmp_path" in inspect.signature(function).parameters
    for parameter in PARAMETERS.get(case, [None]):
        arguments = [tmp_path] if takes_path else [] if parameter is None else [parameter]
        with pytest.raises((Exception, pytest.fail.Exception)):  # whatever it shows
            function(*arguments)
    gc.collect()  # here, where what a mutant left open may be warned of


@pytest.mark.parametrize("datatype", list(mlsrv.types.Datatype))
def test_the_loss_of_one_datatype_is_told(datatype: mlsrv.types.Datatype) -> None:
    class RoundsOne(Rounds):
        async def infer(self, request: InferenceRequest, context: CallContext) -> InferenceResponse:
            wrong = request.inputs[0].datatype is datatype
            return await (super().infer if wrong else self.inner.infer)(request, context)

    with pytest.raises(AssertionError, match=f"^{datatype} .* came back as"):
        suite_of(RoundsOne).test_every_datatype_survives()


def test_a_wrapper_that_changes_nothing_passes(tmp_path: Path) -> None:
    suite = suite_of(Around)
    suite.test_every_datatype_survives()
    suite.test_a_cancelled_request_is_cancelled_there(tmp_path)
    suite.test_code_from_the_models_folder(tmp_path)
    suite.test_streams()
    suite.test_failures_read_the_same_as_in_process("exit")
