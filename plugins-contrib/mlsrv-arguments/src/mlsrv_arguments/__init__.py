"""mlsrv-arguments: decodes inputs and encodes results by the annotations of a model's method."""

from mlsrv_arguments.decorator import decode_args

__all__ = ["decode_args"]
