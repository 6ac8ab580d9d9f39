"""Log text: what clients and models can make, cut to a length and escaped."""

from __future__ import annotations

MESSAGE = 8_000
"""Characters of a message that are logged."""

FIELD = 1_000
"""Characters of any other field that are logged."""

_LINE = 2_000
_NOTE = 50
_TRACEBACK_END = 10_000


def cut(text: str, longest: int) -> str:
    """Return the first characters of a text, with the number of those that are left out."""
    if len(text) <= longest + _NOTE:  # also a text that was cut already
        return text
    return f"{text[:longest]}… ({len(text) - longest} more characters)"


def cut_traceback(text: str) -> str:
    """Return a traceback whose lines are cut, and of which the middle is left out if it is long."""
    if len(text) <= _LINE:
        return text
    if len(text) > 100 * _TRACEBACK_END:
        text = _ends(text, 50 * _TRACEBACK_END)
    return _ends("\n".join(cut(line, _LINE) for line in text.split("\n")), _TRACEBACK_END)


def escaped(text: str) -> str:
    """Return a text on one line, with escapes for line breaks, control characters and the like."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def indented(text: str) -> str:
    """Return lines that no reader can take for lines of the log: each begins with ``  | `` and is escaped."""
    return "\n".join(f"  | {escaped(line)}" for line in text.rstrip("\n").split("\n"))


def _ends(text: str, each: int) -> str:
    if len(text) <= 2 * each + _NOTE:
        return text
    return f"{text[:each]}\n… ({len(text) - 2 * each} more characters)\n{text[-each:]}"
