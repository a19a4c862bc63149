"""Text for terminals: nothing in a run's files can repaint the screen."""

import os
import re
from collections.abc import Mapping
from typing import TextIO

__all__ = ["escape", "inline", "wants_colour"]

# Controls (C0 but tab and newline, DEL, C1), marks that turn the direction of text,
# line separators, and halves of surrogate pairs.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f"
    "\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escape(text: str) -> str:
    r"""Return the text with control characters shown (`\x1b`); lines and tabs stay."""
    return _UNSAFE.sub(_shown, text)


def inline(text: str) -> str:
    r"""Return the text on one line: as `escape`, and newlines and tabs as `\n`, `\t`."""
    text = escape(text)
    if "\n" in text or "\t" in text:
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return text


def wants_colour(stream: TextIO, env: Mapping[str, str]) -> bool:
    """Whether to colour: on a terminal, without `NO_COLOR`, unless `TERM=dumb`.

    Source: https://no-color.org (a value that is not empty).
    """
    if env.get("NO_COLOR") or env.get("TERM") == "dumb":
        return False
    try:
        return os.isatty(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False


def _shown(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
