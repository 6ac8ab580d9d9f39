"""Flat settings owned by several classes: layers, precedence, origins, problems."""

import pickle
from typing import ClassVar

import pytest

from mlsrv.settings import Layer, Owner, setting, settings_class
from mlsrv_settings_kit.errors import ConfigurationError
from mlsrv_settings_kit.sections import resolve


@settings_class
class Kernel:
    host: str = setting("0.0.0.0", help="An address.")
    debug: bool = setting(False, help="A flag.")


@settings_class
class Plugin:
    port: int = setting(8080, help="A port.")
    names: list[str] = setting(factory=list, help="Names.")


OWNERS = [Owner("kernel", Kernel), Owner("acme", Plugin)]


def test_later_layers_win_and_origins_are_kept() -> None:
    file = Layer("settings.json", {"host": "a", "port": 1, "debug": True})
    environment = Layer("environment", {"port": "2"}, text=True, names={"port": "MLSRV_PORT"})
    command_line = Layer("command line", {"host": "c"}, text=True)
    found = resolve(OWNERS, [file, environment, command_line])
    assert found.of(Kernel) == Kernel(host="c", debug=True)
    assert found.of(Plugin) == Plugin(port=2)
    assert [(one.name, one.value, one.origin, one.help, one.distribution) for one in found] == [
        ("host", "c", "command line", "An address.", "kernel"),
        ("debug", True, "settings.json", "A flag.", "kernel"),
        ("port", 2, "environment", "A port.", "acme"),
        ("names", [], "default", "Names.", "acme"),
    ]
    assert (found.port, found.host) == (2, "c")


def test_every_problem_is_reported_with_its_source() -> None:
    file = Layer("settings.json", {"hots": "a", "debug": "maybe"})
    environment = Layer("environment", {"port": "x", "names": "{"}, text=True, names={"port": "MLSRV_PORT"})
    with pytest.raises(ConfigurationError) as caught:
        resolve(OWNERS, [file, environment])
    assert caught.value.problems == [
        'settings.json: unknown key "hots"; did you mean "host"?',
        "settings.json: debug: expected true or false, got 'maybe'",
        "environment names: expected a list, got '{'",
        "environment MLSRV_PORT: expected a whole number, got 'x'",
    ]


def test_keys_of_a_plugin_that_is_not_there_are_left_out_of_an_optional_layer() -> None:
    defaults = {"host": "a", "grpc_port": 1, "made_up": True}
    found = resolve(OWNERS, [Layer("plugins", defaults, optional=True)])
    assert found.host == "a"
    assert not found.ignored
    with pytest.raises(ConfigurationError, match="grpc_port"):
        resolve(OWNERS, [Layer("plugins", defaults)])


def test_an_overridden_value_is_not_checked() -> None:
    found = resolve(OWNERS, [Layer("settings.json", {"port": "x"}), Layer("code", {"port": 5})])
    assert found.port == 5


def test_a_field_that_two_plugins_own_names_both() -> None:
    @settings_class
    class Other:
        port: int = setting(1, help="A port.")

    with pytest.raises(ConfigurationError, match='"port" is owned by both acme and other'):
        resolve([*OWNERS, Owner("other", Other)], [])


@settings_class
class Checked:
    limit: int = setting(1, help="A limit.")

    def __attrs_post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError(f"limit: expected no negative number, got {self.limit}")


def test_a_problem_found_by_a_whole_class_names_the_origin_of_the_value() -> None:
    layer = Layer("command line", {"limit": -1}, names={"limit": "--limit"})
    with pytest.raises(
        ConfigurationError, match=r"^command line: --limit: expected no negative number, got -1$"
    ):
        resolve([Owner("checked", Checked)], [layer])


def test_a_misspelt_key_that_is_taken_elsewhere() -> None:
    with pytest.raises(ConfigurationError, match='"paramters"; did you mean "parameters"'):
        resolve(OWNERS, [Layer("code", {"paramters": {}})], others=["parameters"])


def test_a_settings_class_without_an_offer() -> None:
    @settings_class
    class Absent:
        depth: int = setting(1, help="A depth.")

    with pytest.raises(KeyError, match="Absent"):
        resolve(OWNERS, []).of(Absent)
    with pytest.raises(AttributeError, match="no setting 'depth'"):
        resolve(OWNERS, []).depth  # noqa: B018  # the access is the test


def test_sections_travel_between_processes() -> None:
    found = resolve(OWNERS, [Layer("code", {"port": 5})])
    again = pickle.loads(pickle.dumps(found))
    assert again.of(Plugin) == Plugin(port=5)
    assert again.port == 5


@settings_class
class Tolerant:
    tolerates_unknown_keys: ClassVar[bool] = True
    tolerant_key: int = setting(0, help="Any.")


def test_a_key_of_a_plugin_that_guards_the_server_is_never_ignored() -> None:
    owners = [Owner("mlsrv-tolerant", Tolerant)]
    assert resolve(owners, [Layer("code", {"anything": 1})]).ignored
    with pytest.raises(ConfigurationError, match=r"keys_file.*mlsrv-keys"):
        resolve(owners, [Layer("code", {"keys_file": "keys.json"})])
