"""Model configuration: the fields of the extension that clients read.

Source: Triton's "Model Configuration Extension".
"""

from typing import Any

from mlsrv_protocol.datatypes import Datatype
from mlsrv_protocol.metadata import MetadataModelResponse, MetadataTensor


def model_configuration(
    metadata: MetadataModelResponse, *, max_batch_size: int = 0, decoupled: bool = False
) -> dict[str, Any]:
    """Return the configuration of a model as plain data, the same for every transport.

    Args:
        metadata: the model's.
        max_batch_size: the most rows of one batch; 0 when requests are not batched. When they are, the first
            dimension of every tensor counts rows, and `dims` leaves it out, as the extension specifies.
        decoupled: True when the model serves only streams.
    """
    first = 1 if max_batch_size > 0 else 0
    config: dict[str, Any] = {
        "name": metadata.name,
        "platform": metadata.platform,
        "backend": "mlsrv",
        "max_batch_size": max_batch_size,
        "input": [_tensor_configuration(tensor, first) | _optional_key(tensor) for tensor in metadata.inputs],
        "output": [_tensor_configuration(tensor, first) for tensor in metadata.outputs],
        "model_transaction_policy": {"decoupled": decoupled},
    }
    if max_batch_size > 0:
        config["dynamic_batching"] = {}
    return config


def _tensor_configuration(tensor: MetadataTensor, first: int) -> dict[str, Any]:
    kind = "STRING" if tensor.datatype is Datatype.BYTES else tensor.datatype.value
    return {"name": tensor.name, "data_type": f"TYPE_{kind}", "dims": tensor.shape[first:]}


def _optional_key(tensor: MetadataTensor) -> dict[str, Any]:
    return {"optional": True} if tensor.parameters is not None and tensor.parameters.get("optional") else {}
