"""Sections: flat settings whose fields are owned by several classes, the kernel's and those of plugins."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

import attrs

from mlsrv_settings_kit.convert import from_text, structure_fields
from mlsrv_settings_kit.errors import ConfigurationError
from mlsrv_settings_kit.fields import help_of
from mlsrv_settings_kit.hints import explain_unknown
from mlsrv_settings_kit.known_plugins import guards, owner_of
from mlsrv_settings_kit.redaction import is_secret, redacted, without_secrets
from mlsrv_settings_kit.references import resolved
from mlsrv_settings_kit.uris import has_scheme

DEFAULT = "default"
"""The origin of values that no source sets."""

_T = TypeVar("_T")
_Fields: TypeAlias = "dict[str, tuple[Owner, attrs.Attribute[Any]]]"


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
        base: the folder from which relative paths count; None is the working directory.
        optional: whether keys that no loaded plugin has are left out without a word, as defaults that one
            plugin has for another are where that is missing or blocked.
    """

    origin: str
    values: Mapping[str, Any]
    text: bool = False
    names: Mapping[str, str] = attrs.field(factory=dict)
    base: Path | None = None
    optional: bool = False

    def where(self, key: str) -> str:
        """Return how messages point at a key of this layer."""
        name = self.names.get(key, key)
        return f"{self.origin} {name}" if self.text else f"{self.origin}: {name}"


@attrs.frozen
class _Chosen:
    """A value that counts, not converted yet, and the layer that it comes from."""

    value: Any
    layer: Layer
    has_reference: bool


@attrs.frozen
class Effective:
    """One effective value with its origin and its meaning."""

    name: str
    value: Any
    origin: str
    help: str
    distribution: str
    secret: bool = False

    @property
    def shown(self) -> Any:
        """The value as plain data for others to see, without secrets."""
        return redacted(self.value, self.name, secret=self.secret)


@attrs.frozen(eq=False)
class Sections:
    """Resolved values, one instance for each owner's class, readable flat: ``sections.http_port``.

    `ignored` has one sentence for each unknown key, where these are tolerated.
    """

    instances: Mapping[type, Any]
    effective: Mapping[str, Effective]
    ignored: Sequence[str] = ()

    def of(self, cls: type[_T]) -> _T:
        """Return the instance of one settings class.

        Raises:
            KeyError: no loaded plugin offers this class.
        """
        if cls not in self.instances:
            raise KeyError(f"no loaded plugin offers the settings class {cls.__qualname__}")
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


class FlatSettings:
    """Settings with fields of the kernel and of plugins, readable side by side: ``settings.host``.

    Before a kernel resolves them they hold the values as written: attributes are those values, unconverted
    (or defaults of the kernel's own fields), and `of` converts the fields of one class only.
    """

    _own: ClassVar[Owner]

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = tuple(layers)
        self._sections: Sections | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The sources, the weakest first."""
        return self._layers

    def of(self, cls: type[_T]) -> _T:
        """Return the instance of one plugin's settings class, or of the kernel's.

        Raises:
            KeyError: no loaded plugin offers this class.
            ConfigurationError: not yet resolved, and a value is wrong.
        """
        if self._sections is not None:
            return self._sections.of(cls)
        names = {attribute.name for attribute in attrs.fields(cls)}  # type: ignore[arg-type]  # a settings class
        layers = [attrs.evolve(layer, values=_only(layer.values, names)) for layer in self._layers]
        return resolve([Owner("", cls)], layers).of(cls)

    def effective(self) -> Sections:
        """Return every field with its value, origin and meaning.

        Raises:
            ConfigurationError: not yet resolved, and the kernel alone does not know all keys.
        """
        return resolve([self._own], self._layers) if self._sections is None else self._sections

    @property
    def ignored(self) -> Sequence[str]:
        """One sentence for each unknown key, where these are tolerated; of resolved settings."""
        return () if self._sections is None else self._sections.ignored

    def plain(self) -> dict[str, Any]:
        """Return the effective value of each field by name, for another process.

        Values that JSON cannot carry are left out.
        """
        return {field.name: field.value for field in self if _is_plain(field.value)}

    def __iter__(self) -> Iterator[Effective]:
        return iter(self.effective())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._sections is not None:
            return getattr(self._sections, name)
        if name in attrs.fields_dict(self._own.cls):
            return getattr(self.of(self._own.cls), name)
        for layer in reversed(self._layers):
            if name in layer.values:
                return layer.values[name]
        raise AttributeError(f"no setting {name!r}")


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _only(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in names}


def resolve(
    owners: Sequence[Owner],
    layers: Sequence[Layer],
    failed: Mapping[str, str] | None = None,
    others: Collection[str] = (),
    unknown_elsewhere: Sequence[str] = (),
) -> Sections:
    """Lay the layers over each other (later ones win) and convert the values.

    Args:
        owners: the classes that own the fields.
        layers: the sources, the weakest first.
        failed: plugins that did not load, with the reason, for the message about a key of theirs.
        others: keys that are taken elsewhere, for the message about one that is misspelt.
        unknown_elsewhere: sentences about unknown keys of nested objects, which no owner describes.

    Unknown keys are tolerated if one of the owners has the attribute ``tolerates_unknown_keys``.

    Raises:
        ConfigurationError: with one sentence for each unknown key and each value of a wrong type.
    """
    problems: list[str] = []
    tolerant = any(getattr(owner.cls, "tolerates_unknown_keys", False) for owner in owners)
    ignored = list(unknown_elsewhere)
    fields = _fields(owners, problems)
    unknown = functools.partial(
        explain_unknown,
        known=[*fields, *others],
        distributions=[owner.distribution for owner in owners],
        failed=failed,
    )
    chosen = _chosen(fields, layers, unknown, failed or {}, problems, ignored)
    if not tolerant:
        problems += ignored
    instances: dict[type, Any] = {}
    for owner in owners:
        names = {attribute.name for attribute in attrs.fields(owner.cls)}
        values = {key: one.value for key, one in chosen.items() if key in names}
        instance, wrong = structure_fields(owner.cls, values)
        problems += [_located(path, what, chosen, owner) for path, what in wrong]
        instances[owner.cls] = instance
    if problems:
        raise ConfigurationError(problems)
    effective = {
        name: Effective(
            name,
            getattr(instances[owner.cls], name),
            chosen[name].layer.origin if name in chosen else DEFAULT,
            help_of(attribute),
            owner.distribution,
            bool(attribute.metadata.get("secret")) or (name in chosen and chosen[name].has_reference),
        )
        for name, (owner, attribute) in fields.items()
    }
    return Sections(instances, effective, tuple(ignored))


def _located(path: str, what: str, chosen: Mapping[str, _Chosen], owner: Owner) -> str:
    """Return a problem with the origin of the value. A check of a whole class names the setting itself."""
    name, colon, rest = what.partition(": ")
    if not path and colon and name in chosen:
        path, what = name, rest
    field = attrs.fields_dict(owner.cls).get(path)
    is_masked = field is not None and field.metadata.get("secret")
    if is_secret(path) or is_masked or (path in chosen and chosen[path].has_reference):
        what = what.partition(", got ")[0]
    what = without_secrets(what)
    return f"{chosen[path].layer.where(path) if path else owner.distribution}: {what}"


def _fields(owners: Sequence[Owner], problems: list[str]) -> _Fields:
    """Return every setting by name, with its owner."""
    fields: _Fields = {}
    for owner in owners:
        for attribute in attrs.fields(owner.cls):
            other, _ = fields.setdefault(attribute.name, (owner, attribute))
            if other is not owner:
                problems.append(
                    f'the setting "{attribute.name}" is owned by both {other.distribution} '
                    f"and {owner.distribution}"
                )
    return fields


def _chosen(
    fields: _Fields,
    layers: Sequence[Layer],
    unknown: Callable[[str], str],
    failed: Mapping[str, str],
    problems: list[str],
    ignored: list[str],
) -> dict[str, _Chosen]:
    """Return the value of each setting that a layer has, not converted yet."""
    chosen: dict[str, _Chosen] = {}
    for layer in layers:
        for key, value in layer.values.items():
            if key not in fields:
                if layer.optional:
                    continue
                # A server must not start open because a plugin that guards it is not there, or is broken.
                is_needed = guards(key) or owner_of("settings", key) in failed
                (problems if is_needed else ignored).append(f"{layer.origin}: {unknown(key)}")
                continue
            has_reference = False
            if layer.base is not None:
                try:
                    value, has_reference = resolved(value, layer.base)
                except ValueError as error:
                    problems.append(f"{layer.where(key)}: {error}")
                    continue
            is_text = layer.text or has_reference
            plain = from_text(value, fields[key][1].type) if is_text and isinstance(value, str) else value
            if fields[key][1].metadata.get("path"):
                plain = _from_base(plain, layer.base)
            chosen[key] = _Chosen(plain, layer, has_reference)
    return chosen


def _from_base(value: Any, base: Path | None) -> Any:
    is_path = base is not None and isinstance(value, str) and value and not has_scheme(value)
    return str(base / value) if base is not None and is_path else value
