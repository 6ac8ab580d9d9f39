"""Topics: which are read, which model the records of one are for, and where its answers go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from mlsrv.errors import ConfigurationError

_PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
_KNOWN: Final = ("model", "version")
_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class InputTopics:
    """The topics that are read.

    Args:
        names: topics, some of which may have the placeholders ``{model}`` and ``{version}``.

    Raises:
        ConfigurationError: a name has another placeholder, or is no topic.
    """

    def __init__(self, names: Sequence[str]) -> None:
        check(names, "kafka_topic_input")
        self._patterns = [re.compile(_expression(name)) for name in names if "{" in name]
        self.subscription = [f"^{_posix(name)}$" if "{" in name else name for name in names]
        """Names to subscribe to; one that begins with ``^`` is a regular expression."""
        self._models: dict[str, tuple[str | None, str | None]] = {}

    def model_of(self, topic: str) -> tuple[str | None, str | None]:
        """Return the model and the version that a topic names; each may be None."""
        found = self._models.get(topic)
        if found is None:
            found = self._models[topic] = self._match(topic)
        return found

    def _match(self, topic: str) -> tuple[str | None, str | None]:
        for pattern in self._patterns:
            match = pattern.fullmatch(topic)
            if match is not None:
                values = match.groupdict()
                return values.get("model"), values.get("version")
        return None, None


def check(names: Sequence[str], setting: str) -> None:
    """Raise if a name is no topic and no pattern of topics.

    Raises:
        ConfigurationError: with the name and the setting.
    """
    for name in names:
        found = _PLACEHOLDER.findall(name)
        rest = _PLACEHOLDER.sub("x", name)
        if not _NAME.fullmatch(rest) or len(set(found)) < len(found) or not set(found) <= set(_KNOWN):
            raise ConfigurationError(
                f"{setting}: {name[:100]!r} is not the name of a topic, which has letters, digits and . _ - "
                "and may have each of {model} and {version} once."
            )


def filled(name: str, model: str, version: str | None) -> str:
    """Return the name of a topic for a model."""
    if "{" not in name:
        return name
    return name.replace("{model}", model).replace("{version}", version or "")


def _expression(name: str) -> str:
    parts = _PLACEHOLDER.split(name)  # text, placeholder, text, …
    return "".join(
        f"(?P<{part}>[a-zA-Z0-9._-]+?)" if index % 2 else re.escape(part) for index, part in enumerate(parts)
    )


def _posix(name: str) -> str:
    """Return the expression for brokers and the client library, which know no groups with names."""
    return "[a-zA-Z0-9._-]+".join(part.replace(".", "[.]") for part in _PLACEHOLDER.split(name)[::2])
