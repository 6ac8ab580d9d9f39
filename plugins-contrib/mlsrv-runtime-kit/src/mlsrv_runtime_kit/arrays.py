"""Arrays: the numpy codecs, the default of most runtimes."""

from __future__ import annotations

from mlsrv.codecs.registry import AnyInputCodec, AnyRequestCodec
from mlsrv.errors import ModelLoadError
from mlsrv.model import MLModel
from mlsrv_settings_kit.known_plugins import owner_of


def array_codecs(model: MLModel) -> tuple[AnyInputCodec, AnyRequestCodec]:
    """Return the codecs of the content type ``np``: of a tensor, and of a whole request.

    Raises:
        ModelLoadError: no plugin offers them.
    """
    codec, request_codec = model.codecs.input_codec("np"), model.codecs.request_codec("np")
    if codec is None or request_codec is None:
        owner = owner_of("codecs", "np")
        raise ModelLoadError(f'Model {model.name} needs the content type "np" (pip install {owner}).')
    return codec, request_codec
