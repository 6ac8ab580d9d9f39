"""Contract of inference runtimes: the cases that each must pass."""

from __future__ import annotations

import asyncio
import copy
import pickle
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from mlsrv.errors import Code, MLSrvError
from mlsrv.kernel.kernel import Kernel
from mlsrv.settings import ModelSettings
from mlsrv_protocol.types import InferenceRequest, InferenceResponse
from mlsrv_testing.contracts.running import (
    request_over_binary,
    response_over_binary,
    response_over_json,
    run,
)


class RuntimeContract(ABC):
    """Cases for a runtime, an `MLModel`. Override `settings` and `requests`.

    Attributes:
        plugins: plugin objects that the model needs, beside the installed ones.
        discover: whether installed plugins are loaded.
        deterministic: whether the same request always has the same answer.
    """

    plugins: ClassVar[Sequence[object]] = ()
    discover: ClassVar[bool] = True
    deterministic: ClassVar[bool] = True

    @abstractmethod
    def settings(self, tmp_path: Path) -> ModelSettings:
        """Settings of a model of this runtime, with a real artifact; `tmp_path` is a folder for one."""

    @abstractmethod
    def requests(self) -> Sequence[InferenceRequest]:
        """Requests that the model answers."""

    def bad_requests(self) -> Sequence[InferenceRequest]:
        """Requests that are the client's fault, for example with a wrong number of features."""
        return ()

    def test_it_loads_and_answers(self, tmp_path: Path) -> None:
        """Each request has an answer, which can be sent as JSON.

        Guards against: outputs that no wire form can carry: object arrays, wrong shapes, numpy scalars.
        """

        async def case() -> None:
            async with self._loaded(tmp_path) as kernel:
                for request in self._requests():
                    response = await kernel.infer(request)
                    assert response.outputs, "the response has no outputs"
                    assert len(response_over_json(response).outputs) == len(response.outputs)

        run(case())

    def test_binary_tensors_have_the_same_answer(self, tmp_path: Path) -> None:
        """A request that came with binary tensors, whose texts are `bytes`, is answered as one in JSON is.

        Guards against: a model that takes texts for `str`, and fails for every client of gRPC.
        """

        async def case() -> None:
            async with self._loaded(tmp_path) as kernel:
                for request in self._requests():
                    plain = await kernel.infer(request)
                    response = await kernel.infer(_named(request_over_binary(request)))
                    if self.deterministic:
                        assert _same(response_over_binary(response), response_over_binary(plain))

        run(case())

    def test_answers_are_what_the_metadata_says(self, tmp_path: Path) -> None:
        """Outputs have the declared names and datatypes, if any are declared.

        Guards against: clients that are generated from the metadata and fail on the first answer.
        """

        async def case() -> None:
            async with self._loaded(tmp_path) as kernel:
                declared = {one.name: one for one in kernel.model_metadata("model").outputs}
                for request in self._requests():
                    for output in (await kernel.infer(request)).outputs if declared else ():
                        assert output.name in declared, f"{output.name} is not declared"
                        assert output.datatype == declared[output.name].datatype

        run(case())

    def test_many_requests_at_once(self, tmp_path: Path) -> None:
        """Concurrent requests have the same answers as requests one by one.

        Guards against: a model that keeps a request in `self`.
        """

        async def case() -> None:
            async with self._loaded(tmp_path) as kernel:
                alone = [await kernel.infer(request) for request in self._requests()]
                together = await asyncio.gather(
                    *(kernel.infer(request) for _ in range(8) for request in self._requests())
                )
                if self.deterministic:
                    for index, response in enumerate(together):
                        assert _same(response, alone[index % len(alone)])

        run(case())

    def test_a_request_is_not_changed(self, tmp_path: Path) -> None:
        """The request is the same after it was answered.

        Guards against: tensors that are normalised in place, while a cache or a retry still holds them.
        """

        async def case() -> None:
            async with self._loaded(tmp_path) as kernel:
                for request in self._requests():
                    before = copy.deepcopy(request)
                    await kernel.infer(request)
                    assert request == before

        run(case())

    def test_it_can_be_reloaded_and_unloaded(self, tmp_path: Path) -> None:
        """Load, reload, unload and load again, and it answers.

        Guards against: globals, locks and files that an earlier instance leaves behind.
        """

        async def case() -> None:
            async with self._loaded(tmp_path) as kernel:
                await kernel.load("model")
                await kernel.infer(self._requests()[0])
                await kernel.unload("model")
                await kernel.load("model")
                await kernel.infer(self._requests()[0])

        run(case())

    def test_two_models_live_side_by_side(self, tmp_path: Path) -> None:
        """Two models of one runtime answer at once, and one stays when the other goes.

        Guards against: state that all models of a runtime share.
        """

        async def case() -> None:
            async with self._loaded(tmp_path, "model", "other") as kernel:
                first = self._requests()[0]
                second = copy.copy(first)
                second.model_name = "other"
                answers = await asyncio.gather(kernel.infer(first), kernel.infer(second))
                assert [one.model_name for one in answers] == ["model", "other"]
                await kernel.unload("other")
                await kernel.infer(first)

        run(case())

    def test_its_settings_travel(self, tmp_path: Path) -> None:
        """Settings that were pickled, as for a worker process, load as well.

        Guards against: models that work in this process only.
        """

        async def case() -> None:
            settings = pickle.loads(pickle.dumps(self.settings(tmp_path)))
            async with self._kernel([settings.copy(name="model")]) as kernel:
                await kernel.loaded()
                assert kernel.problems() == []
                await kernel.infer(self._requests()[0])

        run(case())

    def test_a_missing_artifact_is_one_sentence(self, tmp_path: Path) -> None:
        """A model whose artifact is not there fails to load, and says what was looked for.

        Guards against: a model that is READY and fails each request, and a traceback where a path is
            misspelt.
        """

        async def case() -> None:
            settings = self.settings(tmp_path)
            if settings.parameters.uri is None:
                pytest.skip("a model of this runtime has no artifact")
            settings.parameters.uri = str(tmp_path / "not" / "there")
            async with self._kernel([settings.copy(name="model")]) as kernel:
                await kernel.loaded()
                (problem,) = kernel.problems()
                assert "there" in problem
                assert "\n" not in problem

        run(case())

    def test_a_bad_request_is_the_clients_fault(self, tmp_path: Path) -> None:
        """It is refused with a code of the client's and one sentence, and the next good one is answered.

        Guards against: status 500 for a wrong number of features.
        """

        bad_requests = self.bad_requests()
        if not bad_requests:
            pytest.skip("the suite has no bad_requests")

        async def case() -> None:
            async with self._loaded(tmp_path) as kernel:
                for request in bad_requests:
                    request.model_name = "model"
                    with pytest.raises(MLSrvError) as caught:
                        await kernel.infer(request)
                    assert caught.value.code is Code.INVALID_ARGUMENT, str(caught.value)
                    assert "\n" not in str(caught.value)
                await kernel.infer(self._requests()[0])

        run(case())

    def _requests(self) -> Sequence[InferenceRequest]:
        found = self.requests()
        assert found, "give the suite requests"
        return [_named(request) for request in found]

    def _kernel(self, models: Sequence[ModelSettings]) -> Kernel:
        return Kernel(plugins=self.plugins, models=models, discover=self.discover)

    @asynccontextmanager
    async def _loaded(self, tmp_path: Path, *names: str) -> AsyncIterator[Kernel]:
        models = []
        for name in names or ("model",):
            folder = tmp_path / name
            folder.mkdir()
            models.append(self.settings(folder).copy(name=name))
        async with self._kernel(models) as kernel:
            await kernel.loaded()
            assert kernel.problems() == []
            yield kernel


def _named(request: InferenceRequest) -> InferenceRequest:
    request.model_name = "model"
    return request


def _same(left: InferenceResponse, right: InferenceResponse) -> bool:
    return left.outputs == right.outputs
