"""Error texts: an error of Spark in one line, without Java stack traces."""

from __future__ import annotations

import re

_CAUSE = re.compile(r"^Caused by: (.+)$", re.MULTILINE)
_NOISE = re.compile(
    r"^(?:: )?(?:[\w.$]+(?:Exception|Error): )?(?:\[[A-Z0-9_.]+\] )?(?:.*?failed due to: )?"
    r"(?:[\w.$]+(?:Exception|Error): )?(?:requirement failed: )?"
    r"|\.? SQLSTATE: \w+"
)
_NOTHING = ("An error occurred while calling", "JVM stacktrace")


def error_text(error: Exception) -> str:
    """Return the cause of an error of Spark, in one line without class names."""
    text = str(error)
    for line in [*_CAUSE.findall(text)[-1:], *text.splitlines()]:
        said = _NOISE.sub("", line.strip()).strip().rstrip(".")
        if said and not said.startswith(_NOTHING):
            return said
    return type(error).__name__
