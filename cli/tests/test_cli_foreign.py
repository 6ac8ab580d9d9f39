"""Variables of other servers."""

from __future__ import annotations

from mlsrv_cli.foreign import merged, told_of_model, unread_variables
from mlsrv_settings_kit.foreign import ForeignEnvironment


def test_variables_that_are_not_read() -> None:
    known = {"http_port", "debug", "model_name"}
    assert unread_variables({"MLSRV_DEBUG": "1"}, known) is None
    one = unread_variables({"MLSERVER_HTTP_PORT": "1"}, known)
    assert one == (
        "MLSERVER_HTTP_PORT in the environment is not read; use MLSRV_HTTP_PORT, "
        "or install mlsrv-mlserver, which reads them."
    )
    two = unread_variables({"MLSERVER_MODEL_NAME": "1", "MLSERVER_DEBUG": "1"}, known)
    assert two is not None
    assert "are not read; use MLSRV_DEBUG, MLSRV_MODEL_NAME, or install" in two


def test_the_advice_names_only_variables_that_there_are() -> None:
    known = {"http_port"}
    assert unread_variables({"MLSERVER_MODELS_DIR": "/x"}, known) == (
        "MLSERVER_MODELS_DIR in the environment is not read, or install mlsrv-mlserver, which reads them."
    )
    assert unread_variables({"MLSERVER_MODELS_DIR": "/x", "MLSERVER_HTTP_PORT": "1"}, known) == (
        "MLSERVER_HTTP_PORT, MLSERVER_MODELS_DIR in the environment are not read; use MLSRV_HTTP_PORT; "
        "nothing here corresponds to MLSERVER_MODELS_DIR, or install mlsrv-mlserver, which reads them."
    )


def test_variables_of_others_fill_gaps() -> None:
    environ = {"MLSRV_HTTP_PORT": "1", "ACME_PORT": "2", "ACME_HOST": "h", "PATH": "/bin"}
    other = ForeignEnvironment({"MLSRV_HTTP_PORT": "2", "MLSRV_HOST": "h"}, {"ACME_PORT", "ACME_HOST"})
    assert merged(environ, [other]) == {"MLSRV_HTTP_PORT": "1", "MLSRV_HOST": "h", "PATH": "/bin"}


def test_a_model_of_which_the_environment_tells() -> None:
    assert told_of_model({"MLSERVER_HTTP_PORT": "1"}) is None
    sentence = told_of_model({"MLSERVER_MODEL_URI": "/mnt/models", "MLSERVER_MODEL_NAME": "iris"})
    assert sentence is not None
    assert "MLSERVER_MODEL_NAME, MLSERVER_MODEL_URI in the environment name a model" in sentence
    assert "use MLSRV_MODEL_NAME, MLSRV_MODEL_URI." in sentence
