"""Utils: helpers for authors of models."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from mlserver.errors import InvalidModelURI
from mlserver.settings import ModelSettings

__all__ = ["extract_headers", "generate_uuid", "get_model_uri", "insert_headers", "to_absolute_path"]


async def get_model_uri(settings: ModelSettings, wellknown_filenames: list[str] | None = None) -> str:
    """Return where the artifact of a model is: a file, a folder, or a URI of another scheme as it is.

    Args:
        settings: of the model.
        wellknown_filenames: names looked for, in this order, in a folder.

    Raises:
        InvalidModelURI: there is none.
    """
    from mlsrv.errors import InvalidModelURI as OurError
    from mlsrv.utils import model_uri
    from mlsrv_mlserver.settings import our_model_settings

    uri = None if settings.parameters is None else settings.parameters.uri
    if not uri:
        raise InvalidModelURI(settings.name)
    made = our_model_settings(settings)
    made.parameters.uri = to_absolute_path(settings, uri)
    try:
        return model_uri(made, wellknown_filenames or ())
    except OurError as error:
        raise InvalidModelURI(settings.name, uri) from error


def to_absolute_path(model_settings: ModelSettings, uri: str) -> str:
    """Return a path, which may be relative to the file of the settings, as an absolute one; a URI stays."""
    from mlsrv_settings_kit.uris import has_scheme

    if has_scheme(uri) or model_settings._source is None:
        return uri
    return str(Path(model_settings._source).parent / uri)


def generate_uuid() -> str:
    """Return a new id."""
    return str(uuid.uuid4())


def insert_headers(parametrised_obj: Any, headers: dict[str, str]) -> Any:
    """Put headers into the parameters of a message, and return it."""
    from mlserver.types import Parameters

    if parametrised_obj.parameters is None:
        parametrised_obj.parameters = Parameters()
    parametrised_obj.parameters.headers = headers
    return parametrised_obj


def extract_headers(parametrised_obj: Any) -> dict[str, str] | None:
    """Take the headers out of the parameters of a message."""
    if parametrised_obj.parameters is None:
        return None
    found: dict[str, str] | None = parametrised_obj.parameters.headers
    parametrised_obj.parameters.headers = None
    return found
