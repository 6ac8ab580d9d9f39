"""Foreign: variables of the environment that were written for another server."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from mlsrv_settings_kit.foreign import ForeignEnvironment

PREFIX = "MLSERVER_"
"""The prefix of the variables of MLServer, which are told of where no plugin reads them."""

_MODEL = ("MLSERVER_MODEL_IMPLEMENTATION", "MLSERVER_MODEL_NAME", "MLSERVER_MODEL_URI")


def merged(environ: Mapping[str, str], found: Iterable[ForeignEnvironment]) -> dict[str, str]:
    """Return an environment with the variables of others in the words of mlsrv, without those that were
    read."""
    made: dict[str, str] = {}
    for other in found:
        made |= other.variables
    gone = {name for other in found for name in other.read}
    own = {name.upper() for name in environ}
    made = {name: value for name, value in made.items() if name.upper() not in own}
    return made | {name: value for name, value in environ.items() if name not in gone}


def told_of_model(environ: Mapping[str, str]) -> str | None:
    """Return a sentence about variables of MLServer that name a model and are not read, or None."""
    found = [name for name in _MODEL if name in environ]
    if not found:
        return None
    here = ", ".join(name.replace(PREFIX, "MLSRV_") for name in found)
    verb = "names" if len(found) == 1 else "name"
    return (
        f"{', '.join(found)} in the environment {verb} a model, and no model is served: "
        f"install mlsrv-mlserver, which reads these variables, or use {here}."
    )


def unread_variables(environ: Mapping[str, str], known: Container[str]) -> str | None:
    """Return a sentence about variables with the prefix of MLServer, which are not read, or None.

    Args:
        environ: the environment.
        known: the names of server settings, and with the prefix ``model_`` those of models.
    """
    found = sorted(name for name in environ if name.upper().startswith(PREFIX))
    if not found:
        return None
    here = {name: f"MLSRV_{name[len(PREFIX) :].upper()}" for name in found}
    renamed = [name for name in here.values() if name.removeprefix("MLSRV_").lower() in known]
    verb = "is" if len(found) == 1 else "are"
    sentence = f"{', '.join(found)} in the environment {verb} not read"
    if renamed:
        sentence += f"; use {', '.join(renamed)}"
    if renamed and len(renamed) < len(found):
        others = [name for name, other in here.items() if other not in renamed]
        sentence += f"; nothing here corresponds to {', '.join(others)}"
    return f"{sentence}, or install mlsrv-mlserver, which reads them."
