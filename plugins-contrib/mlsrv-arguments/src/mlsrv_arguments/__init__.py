"""mlsrv-arguments: decodes inputs and encodes results by the annotations of a model's method or function, and
lets models ask each other."""

from mlsrv_arguments.asking import ask
from mlsrv_arguments.decorator import decode_args
from mlsrv_arguments.predictor import predictor

__all__ = ["ask", "decode_args", "predictor"]
