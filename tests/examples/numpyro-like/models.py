"""A custom runtime for a probabilistic model, which is served from samples of its posterior."""

import json

import numpy as np

from mlsrv import MLModel
from mlsrv.codecs import decode_args
from mlsrv.utils import get_model_uri


class BayesianRegression(MLModel):
    async def load(self) -> bool:
        with open(await get_model_uri(self.settings)) as file:
            self._samples = {name: np.array(values) for name, values in json.load(file).items()}
        return True

    @decode_args
    def predict(self, marriage: np.ndarray | None = None, age: np.ndarray | None = None) -> np.ndarray:
        """The expected divorce rate: the mean over all samples of the posterior and all rows."""
        rate = self._samples["a"]
        if marriage is not None:
            rate = rate + self._samples["bM"] * marriage
        if age is not None:
            rate = rate + self._samples["bA"] * age
        return np.asarray(rate.mean().round(6))
