"""Text stream: the text of tokens as they come, up to a stop text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"
"""Stands in decoded text for bytes that are no character, or not yet."""
_WINDOW = 16
"""Tokens that are decoded again with each further one."""


class TextStream:
    """Turns tokens into pieces of text that never change later.

    Text is held back while its last character is not complete, or while it may be the beginning of a stop
    text.

    Args:
        decode: returns the text of tokens.
        stops: texts that end the stream; they are not part of it.
    """

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = [stop for stop in stops if stop]
        self._tokens: list[int] = []
        self._shown = 0
        self._held = ""
        self.stopped = False

    def add(self, token: int) -> str:
        """Return the text that a token settles; sets `stopped` when it completes a stop text."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        # The last character stands for bytes whose rest may come; those before it are as they stay.
        settled = len(text) - text.endswith(_INCOMPLETE)
        piece = text[self._shown : settled]
        self._shown = max(self._shown, settled)
        if self._shown == len(text) and len(self._tokens) > _WINDOW:
            # The last token stays: a space may depend on what stands before.
            self._tokens = self._tokens[-1:]
            self._shown = len(self._decode(self._tokens))
        return self._released(piece)

    def end(self) -> str:
        """Return what is left when no further token comes."""
        text = self._decode(self._tokens)
        rest = self._released(text[self._shown :])
        self._shown = len(text)
        held, self._held = self._held, ""
        return rest if self.stopped else rest + held

    def _released(self, piece: str) -> str:
        text = self._held + piece
        found = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        kept = max((_beginning(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def cut_at(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """Return a text up to the first stop text, and whether there was one."""
    found = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def _beginning(text: str, stop: str) -> int:
    """Return how many characters at the end of a text are the beginning of a stop text."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
