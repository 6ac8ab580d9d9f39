"""A model that shows everything that reached it."""

import time

from own_values import VALUES

from mlsrv import MLModel
from mlsrv.errors import InferenceError
from mlsrv.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput


class Mirror(MLModel):
    """Answers with its inputs and all parameters; refuses or fails when the parameter ``trouble`` says so.
    Answers with a value of ``own_values`` when the parameter ``own`` names one.
    Takes long enough for requests that come meanwhile to be joined."""

    def predict(self, payload: InferenceRequest) -> InferenceResponse:
        time.sleep(0.002)
        extra = dict(payload.parameters.extra) if payload.parameters is not None else {}
        if "own" in extra:
            return VALUES[extra["own"]]()
        if extra.get("trouble") == "refuse":
            raise InferenceError("This is refused.")
        if extra.get("trouble") == "fail":
            raise ValueError("this fails")
        outputs = [
            ResponseOutput(tensor.name, tensor.shape, tensor.datatype, tensor.data, tensor.parameters)
            for tensor in payload.inputs
        ]
        return InferenceResponse(outputs=outputs, parameters=Parameters(**extra))
