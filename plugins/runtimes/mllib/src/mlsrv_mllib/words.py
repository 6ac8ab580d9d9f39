"""What Spark says, for people who do not read Java."""

from __future__ import annotations

import re

_NOISE = re.compile(
    r"^\[[A-Z0-9_.]+\] "  # the name of the condition
    r"|.*?failed due to: "  # the signature of the function that failed
    r"|\b(?:org|java|scala)\.[\w.$]+(?:Exception|Error): (?:requirement failed: )?"
    r"| SQLSTATE: \w+"
    r"|^requirement failed: "
)


def explained(error: Exception) -> str:
    """The first line of an error of Spark, without the names of its classes."""
    text = str(error)
    for line in text.splitlines():
        said = _NOISE.sub("", line.strip()).strip()
        if said and not said.startswith(("An error occurred while calling", "JVM stacktrace")):
            return said[:300].rstrip(".")
    return type(error).__name__
