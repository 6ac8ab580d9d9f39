"""A model that returns its inputs, and says what each of them is in Python."""

from mlsrv import MLModel
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput


class EchoRuntime(MLModel):
    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = []
        for tensor in payload.inputs:
            decoded = self.decode(tensor)
            outputs.append(
                ResponseOutput(
                    name=tensor.name,
                    shape=tensor.shape,
                    datatype=tensor.datatype,
                    data=tensor.data,
                    parameters=Parameters(python_type=type(decoded).__name__, python_value=repr(decoded)),
                )
            )
        return InferenceResponse(outputs=outputs)
