"""Compared models: the same ones, written for mlsrv and for MLServer, which several benchmarks serve."""

TRAIN_IRIS = """
import sys
import joblib
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
joblib.dump(LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True)), sys.argv[1])
"""
"""Trains a classifier of irises; the argument names the file of joblib that it writes."""

NOOP = """
from {package} import MLModel
from {package}.types import InferenceResponse, ResponseOutput


class Model(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        [tensor] = payload.inputs
        output = ResponseOutput(
            name=tensor.name, shape=tensor.shape, datatype=tensor.datatype, data=tensor.data
        )
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])
"""
"""Answers with its only input; ``package`` is mlsrv or mlserver."""
