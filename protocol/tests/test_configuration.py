"""The model configuration extension."""

from mlsrv_protocol.configuration import model_configuration
from mlsrv_protocol.grpc import message_class
from mlsrv_protocol.types import Datatype, MetadataModelResponse, MetadataTensor, Parameters


def metadata(*tensors: MetadataTensor) -> MetadataModelResponse:
    return MetadataModelResponse(name="m", platform="p", inputs=list(tensors), outputs=list(tensors))


def test_a_model_that_does_not_batch() -> None:
    tensor = MetadataTensor("x", "FP32", [-1, 4])
    assert model_configuration(metadata(tensor)) == {
        "name": "m",
        "platform": "p",
        "backend": "mlsrv",
        "max_batch_size": 0,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}],
        "output": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]}],
        "model_transaction_policy": {"decoupled": False},
    }


def test_a_batching_model_leaves_the_batch_dimension_out() -> None:
    config = model_configuration(
        metadata(MetadataTensor("x", "FP32", [-1, 4])), max_batch_size=8, decoupled=True
    )
    assert (config["max_batch_size"], config["input"][0]["dims"], config["dynamic_batching"]) == (8, [4], {})
    assert config["model_transaction_policy"] == {"decoupled": True}


def test_every_datatype_has_its_place_in_the_grpc_message() -> None:
    tensors = [MetadataTensor(f"x{at}", datatype, [1]) for at, datatype in enumerate(Datatype)]
    tensors[0].parameters = Parameters(optional=True)
    config = model_configuration(metadata(*tensors))
    assert config["input"][-1]["data_type"] == "TYPE_STRING"
    message = message_class("inference.ModelConfig")(**config)
    assert [tensor.optional for tensor in message.input] == [True] + [False] * (len(tensors) - 1)
    assert len({tensor.data_type for tensor in message.input} - {0}) == len(Datatype)
