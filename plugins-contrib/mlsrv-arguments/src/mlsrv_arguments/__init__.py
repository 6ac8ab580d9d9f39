"""mlsrv-arguments: decodes inputs and encodes results by the annotations of a model's method or function."""

from mlsrv_arguments.decorator import decode_args
from mlsrv_arguments.predictor import predictor

__all__ = ["decode_args", "predictor"]
