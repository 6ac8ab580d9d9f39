"""A model that takes a column of every type, and params, and tells what it got."""

import json

import mlflow
import pandas as pd


def plain(value):
    return value.item() if hasattr(value, "item") else str(value)


class Everything(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        kinds = {name: str(column.dtype) for name, column in model_input.items()}
        return pd.DataFrame(
            {
                "row": [json.dumps(row, default=plain) for row in model_input.to_dict("records")],
                "kinds": [json.dumps(kinds)] * len(model_input),
                "params": [params] * len(model_input),
            }
        )


mlflow.models.set_model(Everything())
