"""Health, metadata, configuration and repository over a real connection."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from mlsrv import MLModel, ModelSettings
from mlsrv_protocol.grpc import message_class
from mlsrv_protocol.types import InferenceRequest, RequestInput


class Broken(MLModel):
    """Does not load."""

    async def load(self) -> bool:
        raise ValueError("no artifact")


def failure(served: Any, method: str, body: bytes = b"", /, **fields: Any) -> tuple[grpc.StatusCode, str]:
    if fields:
        body = message_class(f"inference.{method}Request")(**fields).SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        served.method(method)(body, timeout=20)
    return caught.value.code(), caught.value.details()


def test_live_and_ready(served: Any) -> None:
    assert served.ask("ServerLive").live
    assert served.ask("ServerReady").ready


def test_a_broken_model_makes_the_server_not_ready(serve: Any) -> None:
    served = serve([ModelSettings(name="broken", implementation=Broken)])
    assert served.ask("ServerLive").live
    assert not served.ask("ServerReady").ready
    assert not served.ask("ModelReady", name="broken").ready
    (item,) = served.ask("RepositoryIndex").models
    assert (item.name, item.state) == ("broken", "UNAVAILABLE")
    assert "no artifact" in item.reason


def test_model_ready(serve: Any) -> None:
    served = serve()
    assert served.ask("ModelReady", name="echo").ready
    assert served.ask("ModelReady", name="versioned", version="v9").ready
    served.ask("RepositoryModelUnload", model_name="echo")
    assert not served.ask("ModelReady", name="echo").ready
    for asked in ({"name": "nope"}, {"name": "echo", "version": "7"}):
        code, details = failure(served, "ModelReady", **asked)
        assert code is grpc.StatusCode.NOT_FOUND
        assert details.endswith("not found")


def test_server_metadata(served: Any) -> None:
    metadata = served.ask("ServerMetadata")
    assert metadata.name == "mlsrv"
    assert metadata.version
    assert {"model_repository", "model_configuration", "statistics"} <= set(metadata.extensions)
    assert list(metadata.extensions) == list(served.kernel.server_metadata().extensions)


def test_model_metadata(served: Any) -> None:
    metadata = served.ask("ModelMetadata", name="declared")
    assert (metadata.name, metadata.platform, list(metadata.versions)) == ("declared", "p", ["x1"])
    assert [(x.name, x.datatype, list(x.shape)) for x in metadata.inputs] == [("x", "FP32", [-1, 2])]
    assert [(x.name, x.datatype, list(x.shape)) for x in metadata.outputs] == [("x", "FP32", [-1, 2])]
    assert not metadata.properties
    assert list(served.ask("ModelMetadata", name="versioned").versions) == ["v9", "v10"]
    assert failure(served, "ModelMetadata", name="nope")[0] is grpc.StatusCode.NOT_FOUND


def test_model_configuration(served: Any) -> None:
    config = served.ask("ModelConfig", name="declared").config
    assert (config.name, config.max_batch_size) == ("declared", 0)
    assert not config.model_transaction_policy.decoupled
    assert [(x.name, x.data_type, list(x.dims)) for x in config.input] == [("x", 11, [-1, 2])]
    assert served.ask("ModelConfig", name="counting").config.model_transaction_policy.decoupled
    assert not served.ask("ModelConfig", name="echo").config.model_transaction_policy.decoupled


def test_model_statistics(serve: Any) -> None:
    served = serve()
    before = {(found.name, found.version): found for found in served.ask("ModelStatistics").model_stats}
    assert before["echo", "1"].inference_count == 0
    assert {("versioned", "v9"), ("versioned", "v10")} <= set(before)
    for version in ("v9", "v9", "v10"):
        request = InferenceRequest([], model_name="versioned", model_version=version)
        served.infer(request)
    nine, ten = served.ask("ModelStatistics", name="versioned").model_stats
    assert [(found.version, found.inference_count) for found in (nine, ten)] == [("v9", 2), ("v10", 1)]
    assert nine.inference_stats.success.count == nine.execution_count == 2
    assert nine.inference_stats.compute_infer.ns > 0
    rows = RequestInput("x", [5, 1], "FP32", [0.0] * 5)
    served.infer(InferenceRequest([rows], model_name="versioned", model_version="v10"))
    (ten,) = served.ask("ModelStatistics", name="versioned", version="v10").model_stats
    assert (ten.inference_count, ten.execution_count) == (1 + 5, 2)
    assert nine.last_inference > 1_600_000_000_000
    (one,) = served.ask("ModelStatistics", name="versioned", version="v10").model_stats
    assert one == ten
    assert failure(served, "ModelStatistics", name="nope")[0] is grpc.StatusCode.NOT_FOUND


def test_the_repository(serve: Any) -> None:
    served = serve()
    found = [(item.name, item.version, item.state) for item in served.ask("RepositoryIndex").models]
    assert ("versioned", "v9", "READY") in found
    assert ("echo", "", "READY") in found
    unloaded = served.ask("RepositoryModelUnload", model_name="echo")
    assert (unloaded.model_name, unloaded.isUnloaded) == ("echo", True)
    states = {item.name: item.state for item in served.ask("RepositoryIndex").models}
    assert states["echo"] == "UNAVAILABLE"
    assert "echo" not in {item.name for item in served.ask("RepositoryIndex", ready=True).models}
    assert served.ask("ServerReady").ready
    # Some clients put the name into the first field.
    loaded = served.ask("RepositoryModelLoad", repository_name="echo")
    assert (loaded.model_name, loaded.isLoaded) == ("echo", True)
    assert served.ask("ModelReady", name="echo").ready


@pytest.mark.parametrize("name", ["nope", "../etc", "a/../b", "..", "/etc/passwd", " ..", "echo/", "e\ncho"])
def test_unknown_models(served: Any, name: str) -> None:
    for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
        code, details = failure(served, method, model_name=name)
        assert code is grpc.StatusCode.NOT_FOUND
        assert "Traceback" not in details


def test_a_model_that_fails_to_load(serve: Any) -> None:
    served = serve([ModelSettings(name="broken", implementation=Broken)])
    code, details = failure(served, "RepositoryModelLoad", model_name="broken")
    assert code is grpc.StatusCode.INTERNAL
    assert "no artifact" in details


@pytest.mark.parametrize("key", ["config", "file:1/model.py"])
def test_uploads_are_refused(served: Any, key: str) -> None:
    parameter = message_class("inference.ModelRepositoryParameter")(string_param="{}")
    code, details = failure(served, "RepositoryModelLoad", model_name="echo", parameters={key: parameter})
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert key in details


def test_parameters_that_change_nothing_are_accepted(serve: Any) -> None:
    parameter = message_class("inference.ModelRepositoryParameter")(bool_param=True)
    served = serve()
    assert served.ask(
        "RepositoryModelUnload", model_name="echo", parameters={"unload_dependents": parameter}
    ).isUnloaded


@pytest.mark.parametrize("name", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_a_model_must_be_named(served: Any, name: str) -> None:
    assert failure(served, name) == (grpc.StatusCode.INVALID_ARGUMENT, "model_name is empty; name the model.")


@pytest.mark.parametrize("name", ["ModelReady", "ModelMetadata", "RepositoryIndex"])
def test_an_invalid_message_is_refused(served: Any, name: str) -> None:
    code, details = failure(served, name, b"\x0a\x05ab")
    assert (code, details) == (grpc.StatusCode.INVALID_ARGUMENT, f"The message is not a {name}Request.")


@pytest.mark.parametrize(
    "name",
    [
        *(
            f"{kind}SharedMemory{what}"
            for kind in ("System", "Cuda")
            for what in ("Status", "Register", "Unregister")
        ),
        "TraceSetting",
        "LogSettings",
        "NoSuchCall",
    ],
)
def test_an_unsupported_call_is_unimplemented(served: Any, name: str) -> None:
    assert failure(served, name)[0] is grpc.StatusCode.UNIMPLEMENTED


def test_the_old_service_of_the_repository_answers(served: Any) -> None:
    old = "inference.model_repository.ModelRepositoryService"
    body = served.method("RepositoryIndex", old)(b"", timeout=20)
    assert body == served.method("RepositoryIndex")(b"", timeout=20)
    asked = message_class("inference.RepositoryModelLoadRequest")(model_name="none").SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        served.method("RepositoryModelLoad", old)(asked, timeout=20)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
