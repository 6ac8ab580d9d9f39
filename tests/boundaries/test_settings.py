"""Every setting has a help text, a place in the README or a guide of its room."""

import attrs
import pytest

from mlsrv.settings import KernelModelSettings, KernelSettings, help_of
from renew import SETTINGS_PAGE, settings_classes, settings_page
from workspace import Room, rooms

KERNEL = "core"


def offered(room: Room) -> list[type]:
    """The settings classes of a room."""
    return [KernelSettings, KernelModelSettings] if room.where == KERNEL else settings_classes(room)


SETTINGS = [(room, field) for room in rooms() for cls in offered(room) for field in attrs.fields(cls)]
IDS = [f"{room.package}-{field.name}" for room, field in SETTINGS]


def test_settings_were_found() -> None:
    assert {"host", "executor", "http_port"} <= {field.name for _, field in SETTINGS}


@pytest.mark.parametrize(("room", "field"), SETTINGS, ids=IDS)
def test_a_setting_is_documented(room: Room, field: "attrs.Attribute[object]") -> None:
    text = help_of(field)
    assert text[:1].isupper() or not text[:1].isalpha()
    assert text.endswith(".")
    assert len(text) >= 15
    pages = [path.read_text(encoding="utf-8") for path in room.pages()]
    assert any(f"`{field.name}`" in page for page in pages), f"{room.where}/README.md does not mention it"


def test_no_setting_has_two_owners() -> None:
    owners: dict[str, set[str]] = {}
    for room, field in SETTINGS:
        owners.setdefault(field.name, set()).add(room.distribution)
    assert {name: both for name, both in owners.items() if len(both) > 1} == {}


def test_the_page_of_all_settings() -> None:
    found = SETTINGS_PAGE.read_text(encoding="utf-8")
    assert found == settings_page(), "run: python tests/support/renew.py"
