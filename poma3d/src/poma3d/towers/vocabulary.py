"""A fixed vocabulary of whole words, with bytes for every other: built from texts, the same every time."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from poma3d.errors import SettingError

PAD, BEGIN, END, SPELL = range(4)
"""What pads, begins and ends a text, and what announces a word spelled in bytes."""
_FIRST_BYTE = 4
_FIRST_WORD = _FIRST_BYTE + 256
_WORD = re.compile(r"\w+|[^\w\s]")


def split_words(text: str) -> list[str]:
    """The words and marks of a text, in lower case and in Unicode's compatible form (NFKC)."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class Vocabulary:
    """Words to numbers and texts to token numbers; no text is out of reach.

    Args:
        words: the words that get a token of their own, each once.

    Raises:
        SettingError: a word twice, or one that splitting would not leave whole.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._number = {word: number for number, word in enumerate(self.words, _FIRST_WORD)}
        if len(self._number) != len(self.words):
            raise SettingError("the vocabulary holds a word twice")
        broken = [word for word in self.words if split_words(word) != [word]]
        if broken:
            raise SettingError(f"the vocabulary holds what is no single word: {', '.join(broken[:8])}")

    @classmethod
    def build(cls, texts: Iterable[str], *, size: int = 4096, least: int = 2) -> Vocabulary:
        """The most frequent words of ``texts``, alphabetical among equals; the order of the texts is no matter.

        Args:
            texts: what to count.
            size: words at most.
            least: how often a word must occur.
        """
        counts = Counter(word for text in texts for word in split_words(text))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        # A few letters change again when they are put in lower case twice; their words stay spelled in bytes.
        words = [word for word, count in ranked if count >= least and split_words(word) == [word]]
        return cls(words[: max(size, 0)])

    def __len__(self) -> int:
        """Numbers in use: the special ones, the bytes and the words."""
        return _FIRST_WORD + len(self.words)

    def encode(self, text: str, length: int) -> list[int]:
        """Token numbers of a text, begin and end included, cut to at most ``length`` (2 or more)."""
        tokens = [BEGIN]
        for word in split_words(text):
            number = self._number.get(word)
            if number is None:
                spelled = word.encode("utf-8", errors="replace")
                tokens += [SPELL, *(_FIRST_BYTE + byte for byte in spelled)]
            else:
                tokens.append(number)
            if len(tokens) >= length:
                break
        return [*tokens[: length - 1], END]
