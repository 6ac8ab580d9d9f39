"""Known plugins: what to install, told while it is missing."""

import pytest

from mlsrv_settings_kit.known_plugins import first_choice, known_names, known_sample, owner_of


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("settings", "http_port", "mlsrv-rest"),
        ("parameters", "environment_tarball", "mlsrv-workers"),
        ("codecs", "np", "mlsrv-numpy"),
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


def test_names_of_all_plugins() -> None:
    assert {"batching", "sklearn"} & set(known_names("runtimes")) == {"sklearn"}
