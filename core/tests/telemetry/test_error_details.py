"""Error details: what clients are told of unexpected exceptions."""

from __future__ import annotations

import logging
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mlsrv import Kernel, MLModel, ModelSettings
from mlsrv.context import CallContext
from mlsrv.errors import ConfigurationError, InferenceError, MLSrvError, ModelFailed, ModelLoadError
from mlsrv.handlers import custom_handler
from mlsrv.telemetry.error_details import ErrorDetails, is_loopback
from mlsrv.testing import text_request
from mlsrv.types import InferenceRequest, InferenceResponse
from mlsrv.utils import model_uri

SECRET = "postgres://user:s3cret@db/models"


class Leaking(MLModel):
    """Raises texts with a password."""

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        if payload.id == "refused":
            raise InferenceError("The value is too large.")
        raise RuntimeError(SECRET)

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        async for _ in payloads:
            raise RuntimeError(SECRET)
            yield

    @custom_handler("/fail")
    async def handler(self) -> None:
        raise RuntimeError(SECRET)


class Unloadable(MLModel):
    """Fails to load with a password in the text; as its setting says, by a sentence that quotes it."""

    async def load(self) -> bool:
        try:
            raise OSError(SECRET)
        except OSError as error:
            extra = self.settings.parameters.extra if self.settings.parameters else {}
            if extra.get("quoted"):
                raise ModelLoadError(f"The artifact cannot be read: {error}") from error
            raise


MODELS = [
    ModelSettings(name="leaking", implementation=Leaking),
    ModelSettings(name="unloadable", implementation=Unloadable),
    ModelSettings(name="quoting", implementation=Unloadable, parameters={"extra": {"quoted": True}}),
]


def kernel_with(**settings: Any) -> Kernel:
    return Kernel(settings, models=MODELS, discover=False)


async def failures_of(kernel: Kernel) -> list[str]:
    """Return every text that a client may see of the models, with that of a request first."""
    texts: list[str] = []
    with pytest.raises(ModelFailed) as failed:
        await kernel.infer(text_request("leaking", ["a"], id="7"))
    texts.append(str(failed.value))
    with pytest.raises(ModelFailed) as failed:
        async for _ in kernel.stream(text_request("leaking", ["a"], id="7")):
            pass
    texts.append(str(failed.value))
    with pytest.raises(ModelFailed) as failed:
        await kernel.call("leaking", None, "handler", {})
    texts.append(str(failed.value))
    for name in ("unloadable", "quoting"):
        with pytest.raises(ModelLoadError) as unloadable:
            await kernel.load(name)
        texts.append(str(unloadable.value))
        with pytest.raises(MLSrvError) as refused:
            await kernel.infer(text_request(name, ["a"]))
        texts += [str(refused.value), str(kernel.handle(name).problem)]
    texts += [item.reason for item in await kernel.index() if item.name != "leaking"]
    return texts + kernel.problems()


async def test_a_kernel_that_does_not_serve_tells_all() -> None:
    async with kernel_with() as kernel:
        await kernel.loaded()
        texts = await failures_of(kernel)
        assert texts[0] == f"Model leaking failed: RuntimeError: {SECRET}"
        assert all(SECRET in text for text in texts)


@pytest.mark.parametrize("level", ["class", "none"])
async def test_texts_are_held_back_and_logged(level: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlsrv")
    async with kernel_with(error_details=level) as kernel:
        await kernel.loaded()
        texts = await failures_of(kernel)
        assert not any("s3cret" in text for text in texts)
        shown = ": RuntimeError" if level == "class" else ""
        assert texts[0] == f"Model leaking failed{shown} (request 7); the log has the details"
        assert any(("OSError" in text) is (level == "class") for text in texts[3:])
        assert "Model unloadable failed to load" in " ".join(kernel.problems())
        assert SECRET in str(kernel.handle("unloadable").full_problem)
        with pytest.raises(InferenceError, match=r"^The value is too large\.$"):
            await kernel.infer(text_request("leaking", ["a"], id="refused"))
    logged = [record.getMessage() for record in caplog.records if SECRET in record.getMessage()]
    for begin in ("Request 7 failed", "Model unloadable is UNAVAILABLE", "Model quoting is UNAVAILABLE"):
        assert any(text.startswith(begin) for text in logged)


async def test_the_error_that_is_held_back_is_the_cause() -> None:
    async with kernel_with(error_details="none") as kernel:
        await kernel.loaded()
        with pytest.raises(ModelFailed) as failed:
            await kernel.infer(text_request("leaking", ["a"]))
        assert SECRET in str(failed.value.__cause__)


def test_the_address_decides_while_a_kernel_serves() -> None:
    details = ErrorDetails()
    for host, level in {"127.0.0.1": "full", "::1": "full", "localhost": "full", "0.0.0.0": "class"}.items():
        with details.serving(host):
            assert details.level == level
        assert details.level == "full"
    chosen = ErrorDetails("none")
    with chosen.serving("127.0.0.1"):
        assert chosen.level == "none"


def test_loopback_addresses_are_known() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "[::1]", "LocalHost")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.nip")))


def test_the_mark_of_an_unexpected_exception_survives_pickling() -> None:
    failure = pickle.loads(pickle.dumps(ModelFailed.of("m", None, KeyError("s3cret"))))
    details = ErrorDetails("class")
    context = CallContext(request_id="1")
    told = details.told(failure, context)
    assert str(told) == "Model m failed: KeyError (request 1); the log has the details"
    assert str(details.told(told, context)) == str(told)
    own = ModelFailed.of("m", None, MLSrvError("A sentence."))
    assert details.told(own) is own


def test_an_unknown_value_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="error_details"):
        Kernel({"error_details": "some"}, discover=False)


class Missing(MLModel):
    """Wants an artifact that is not there."""

    async def load(self) -> bool:
        model_uri(self.settings)
        return True


async def test_the_path_of_an_artifact_that_is_missing_is_held_back_too() -> None:
    missing = ModelSettings(name="missing", implementation=Missing, parameters={"uri": "/srv/s3cret/model"})
    for level, reason in (
        ("full", "Model missing: parameters.uri '/srv/s3cret/model' is neither a file nor a folder."),
        ("class", "Model missing failed to load: InvalidModelURI; the log has the details"),
        ("none", "Model missing failed to load; the log has the details"),
    ):
        async with Kernel({"error_details": level}, models=[missing], discover=False) as kernel:
            await kernel.loaded()
            assert [item.reason for item in await kernel.index()] == [reason]
