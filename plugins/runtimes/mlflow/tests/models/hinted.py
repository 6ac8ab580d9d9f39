"""A model whose type hints are its signature."""

import mlflow
import pydantic


class Order(pydantic.BaseModel):
    article: str
    count: int = 1


class Hinted(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[Order]) -> list[str]:
        return [order.article * order.count for order in model_input]


mlflow.models.set_model(Hinted())
