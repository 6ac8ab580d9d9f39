"""Text streams: pieces join to the text, whatever the tokens are."""

from __future__ import annotations

import numpy as np
import pytest

from mlsrv_huggingface.text_stream import TextStream, cut_at
from tiny_models import byte_pairs, word_pieces

TOKENIZERS = {"bytes": byte_pairs, "words": word_pieces}


def pieces(tokens: list[int], decode: object, stops: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    stream = TextStream(decode, stops)  # type: ignore[arg-type]  # a function of texts
    found = []
    for token in tokens:
        found.append(stream.add(token))
        if stream.stopped:
            break
    found.append(stream.end())
    return found, stream.stopped


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
def test_pieces_join_to_the_text(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()

    def decode(tokens: list[int]) -> str:
        return str(tokenizer.decode(tokens, skip_special_tokens=True))

    for text in ("the red house is in london " * 9, "", "é", "😀😀 é and 漢字, more " * 5):
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        found, _ = pieces(tokens, decode)
        assert "".join(found) == decode(tokens)


def test_random_bytes() -> None:
    tokenizer = byte_pairs()
    draws = np.random.default_rng(0)
    for _ in range(50):
        tokens = draws.integers(1, len(tokenizer), 40).tolist()
        found, _ = pieces(tokens, tokenizer.decode)
        assert "".join(found) == tokenizer.decode(tokens)
        # Text does not wait for more than the character that is not complete yet.
        assert sum(map(bool, found)) > 10


def test_characters_come_whole() -> None:
    tokenizer = byte_pairs()
    found, _ = pieces(tokenizer("a😀b").input_ids, tokenizer.decode)
    assert [one for one in found if one] == ["a", "😀", "b"]


@pytest.mark.parametrize("stop", ["house", " is in", "n", "in london"])
def test_stop_texts(stop: str) -> None:
    tokenizer = byte_pairs()
    text = "the red house is in london"
    expected = text[: text.index(stop)]
    found, stopped = pieces(tokenizer(text).input_ids, tokenizer.decode, (stop, "zzz"))
    assert ("".join(found), stopped) == (expected, True)
    # No piece has the beginning of the stop text, which would have to be taken back.
    for end in range(len(found)):
        assert expected.startswith("".join(found[:end]))
    assert cut_at(text, ["zzz", stop]) == (expected, True)


def test_what_only_begins_like_a_stop_text_is_sent() -> None:
    tokenizer = byte_pairs()
    text = "the red house"
    found, stopped = pieces(tokenizer(text).input_ids, tokenizer.decode, ("house!", "red houses"))
    assert ("".join(found), stopped) == (text, False)
    assert cut_at(text, ["house!"]) == (text, False)
