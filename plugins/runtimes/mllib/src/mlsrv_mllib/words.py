"""What Spark says, for people who do not read Java."""

from __future__ import annotations

import re

_CAUSE = re.compile(r"^Caused by: (.+)$", re.MULTILINE)
_NOISE = re.compile(
    r"^(?:: )?(?:[\w.$]+(?:Exception|Error): )?(?:\[[A-Z0-9_.]+\] )?(?:.*?failed due to: )?"
    r"(?:[\w.$]+(?:Exception|Error): )?(?:requirement failed: )?"
    r"|\.? SQLSTATE: \w+"
)
_NOTHING = ("An error occurred while calling", "JVM stacktrace")


def explained(error: Exception) -> str:
    """What an error of Spark comes from, in one line without the names of its classes."""
    text = str(error)
    for line in [*_CAUSE.findall(text)[-1:], *text.splitlines()]:
        said = _NOISE.sub("", line.strip()).strip().rstrip(".")
        if said and not said.startswith(_NOTHING):
            return said
    return type(error).__name__
