"""Flat settings whose fields are owned by several classes: the kernel's own and those of plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from mlsrv.settings.convert import from_text, structure_fields
from mlsrv.settings.fields import default_of, help_of
from mlsrv.settings.hints import explain_unknown

_T = TypeVar("_T")


@attrs.frozen
class Owner:
    """A settings class and the distribution that it comes from."""

    distribution: str
    cls: type


@attrs.frozen
class Layer:
    """Values from one source.

    Attributes:
        origin: how it is named in messages: a path, ``"environment"``, ``"command line"``, ``"code"``.
        values: flat plain data.
        text: whether the values are texts that have yet to be read as JSON where a field wants more than
            text.
        names: how a key is spelt there, when that differs (``MLSRV_HTTP_PORT`` for ``http_port``).
    """

    origin: str
    values: Mapping[str, Any]
    text: bool = False
    names: Mapping[str, str] = attrs.field(factory=dict)

    def where(self, key: str) -> str:
        """How to point at a key of this layer."""
        name = self.names.get(key, key)
        return f"{self.origin} {name}" if self.text else f"{self.origin}: {name}"


@attrs.frozen
class Effective:
    """One effective value: what it is, where it came from, and what it means."""

    name: str
    value: Any
    origin: str
    help: str
    distribution: str


@attrs.frozen(eq=False)
class Sections:
    """Resolved values, one instance for each owner's class, readable flat: ``sections.http_port``."""

    instances: Mapping[type, Any]
    effective: Mapping[str, Effective]

    def of(self, cls: type[_T]) -> _T:
        """The instance of one settings class. Raises KeyError for a class that no loaded plugin offers."""
        return self.instances[cls]  # type: ignore[no-any-return]  # keyed by its own class

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = self.effective.get(name)
        if found is None:
            raise AttributeError(f"no setting {name!r}")
        return found.value

    def __iter__(self) -> Iterator[Effective]:
        return iter(self.effective.values())


def resolve(
    owners: Sequence[Owner], layers: Sequence[Layer], failed: Mapping[str, str] | None = None
) -> tuple[Sections, list[str]]:
    """Lay the layers over each other (later ones win) and convert the values.

    `failed` names plugins that did not load, with the reason, for the message about a key of theirs.

    Returns the sections and every problem as one sentence. With problems, the sections hold defaults in their
    place.
    """
    fields: dict[str, tuple[Owner, attrs.Attribute[Any]]] = {}
    problems: list[str] = []
    for owner in owners:
        for attribute in attrs.fields(owner.cls):
            if attribute.name in fields:
                other = fields[attribute.name][0].distribution
                problems.append(
                    f'the setting "{attribute.name}" is owned by both {other} and {owner.distribution}'
                )
                continue
            fields[attribute.name] = (owner, attribute)
    chosen: dict[str, tuple[Any, Layer]] = {}
    distributions = [owner.distribution for owner in owners]
    for layer in layers:
        for key, value in layer.values.items():
            if key not in fields:
                explained = explain_unknown(key, fields, distributions, failed)
                problems.append(f"{layer.origin}: {explained}")
                continue
            plain = from_text(value, fields[key][1].type) if layer.text and isinstance(value, str) else value
            chosen[key] = (plain, layer)
    instances: dict[type, Any] = {}
    for owner in owners:
        names = {attribute.name for attribute in attrs.fields(owner.cls)}
        values = {key: value for key, (value, _) in chosen.items() if key in names}
        instance, wrong = structure_fields(owner.cls, values)
        problems += [
            f"{chosen[path][1].where(path) if path else owner.distribution}: {what}" for path, what in wrong
        ]
        instances[owner.cls] = owner.cls() if instance is None else instance
    effective = {
        name: Effective(
            name,
            getattr(instances[owner.cls], name, default_of(attribute)),
            chosen[name][1].origin if name in chosen else "default",
            help_of(attribute),
            owner.distribution,
        )
        for name, (owner, attribute) in fields.items()
    }
    return Sections(instances, effective), problems
