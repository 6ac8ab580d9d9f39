"""MLflow scoring: MLflow's own scoring protocol, with the answers of its server."""

from __future__ import annotations

import json
import logging
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST
from mlflow.pyfunc import PyFuncModel
from mlflow.pyfunc.scoring_server import invocations
from mlflow.version import VERSION

from mlsrv.handlers import Reply
from mlsrv_mlflow.gaps import without_gaps

logger = logging.getLogger("mlsrv.mlflow")

JSON = {"content-type": "application/json"}
PING = Reply(b"\n", headers=JSON)
VERSIONS = Reply(VERSION.encode(), headers=JSON)


def score(model: PyFuncModel, body: bytes, content_type: str) -> Reply:
    """Answer one request for ``/invocations`` as MLflow's server does, with missing values as ``null``.

    The traceback that MLflow's server sends with some errors is logged at level DEBUG instead.
    """
    try:
        found = invocations(body, content_type, _Answering(model), model.metadata.get_input_schema())
    except MlflowException as error:
        return _refusal(error)
    except RecursionError as error:
        return _refusal(MlflowException(f"Invalid input. {error}", error_code=BAD_REQUEST))
    text = found.mimetype.startswith("text/")
    kind = f"{found.mimetype}; charset=utf-8" if text else found.mimetype
    return Reply(found.response.encode(), found.status, {"content-type": kind})


class _Answering:
    """A model whose predictions have no missing values but None.

    MLflow's server writes NaN, which is no JSON, null or "NaT", depending on where a value stands.
    """

    def __init__(self, model: PyFuncModel) -> None:
        self.metadata = model.metadata
        self._model = model

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any:
        return without_gaps(self._model.predict(data, params=params))


def _refusal(error: MlflowException) -> Reply:
    logger.debug("A request for /invocations was refused", exc_info=error)
    told = json.loads(error.serialize_as_json())
    told.pop("stack_trace", None)
    return Reply(json.dumps(told).encode(), error.get_http_status_code(), JSON)
