"""How many columns of a terminal a text takes."""

import unicodedata

__all__ = ["text_width"]

_NO_PLACE = frozenset({"Mn", "Me", "Cf"})


def text_width(text: str) -> int:
    """Return how many columns of a terminal a text takes: wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.category(character) in _NO_PLACE:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
