"""Text that came from anywhere, made safe to show: nothing in it acts on the screen.

Terminals, pages and pictures pass all that was logged through here. What they add of
their own (colours, markup) comes after that.
"""

import re

__all__ = ["escape", "inline"]

# Controls (C0 but tab and newline, DEL, C1), marks that turn the direction of text,
# line separators, halves of surrogate pairs, and what XML does not allow besides.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f"
    "\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
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


def _shown(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
