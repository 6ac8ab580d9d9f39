"""A model whose inputs and output are JSON texts."""

import json
from typing import Any

from mlsrv import MLModel, types
from mlsrv.codecs import StringCodec
from mlsrv.errors import InferenceError


class JsonHelloWorldModel(MLModel):
    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        answer = {
            "request": {tensor.name: self._parse(tensor) for tensor in payload.inputs},
            "server_response": "Got your request. Hello from the server.",
        }
        output = StringCodec.encode_output("echo_response", [json.dumps(answer)])
        return types.InferenceResponse(outputs=[output])

    def _parse(self, tensor: types.RequestInput) -> Any:
        try:
            return json.loads("".join(self.decode(tensor, default_codec=StringCodec)))
        except ValueError as error:
            raise InferenceError(f'The input "{tensor.name}" is not JSON: {error}') from None
