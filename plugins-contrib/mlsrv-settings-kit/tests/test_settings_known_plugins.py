"""Known plugins: what to install, told while it is missing."""

import pytest

from mlsrv_settings_kit.known_plugins import (
    class_names,
    first_choice,
    fitting,
    is_installed,
    known_names,
    known_sample,
    owner_of,
)


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("settings", "http_port", "mlsrv-rest"),
        ("parameters", "environment_tarball", "mlsrv-workers"),
        ("codecs", "np", "mlsrv-numpy"),
        ("request_codecs", "pd", "mlsrv-pandas"),
        ("request_codecs", "pandas.DataFrame", "mlsrv-pandas"),
        ("input_codecs", "pd", None),
        ("codec_classes", "StringCodec", "mlsrv-text"),
        ("runtimes", "mlserver_sklearn.SKLearnModel", "mlsrv-sklearn"),
        ("metrics", "mlsrv_cache_hits", "mlsrv-cache"),
        ("extensions", "classification", "mlsrv-classification"),
        ("settings", "nonsense", None),
    ],
)
def test_the_owner(kind: str, name: str, owner: str | None) -> None:
    assert owner_of(kind, name) == owner  # type: ignore[arg-type]  # each is a kind


def test_the_default_set_is_suggested() -> None:
    assert first_choice("transports") == "mlsrv-rest"
    assert first_choice("repositories") == "mlsrv-files"


def test_samples() -> None:
    assert (known_sample("pd_json"), known_sample("np"), known_sample("")) == ("null", "", "")


def test_files_choose_by_name_before_pattern() -> None:
    readers = [("any", ["*.json"]), ("own", ["model.json", "*.bin"]), ("other", ["*.bst"])]
    assert fitting(["model.json", "x.txt"], readers) == ["own"]
    assert fitting(["model2.json"], readers) == ["any"]
    assert fitting(["a.bin", "a.bst"], readers) == ["own", "other"]
    assert fitting(["x.txt"], readers) == []


def test_classes_are_named_with_their_bases() -> None:
    class Own(dict):  # type: ignore[type-arg]  # of anything
        pass

    own, base = class_names(Own)
    assert own.endswith(".<locals>.Own")
    assert base == "builtins.dict"


def test_what_is_installed() -> None:
    assert is_installed("mlsrv-settings-kit")
    assert not is_installed("mlsrv-nothing")


def test_names_of_all_plugins() -> None:
    assert {"batching", "sklearn"} & set(known_names("runtimes")) == {"sklearn"}
