"""Patterns that somebody typed, as far as they cannot take for ever.

Python's `re` tries all the ways in which a pattern can fit. Where a repeat stands in a
repeat, or a choice in one, there are twice as many of them with each character of a
text: `(a+)+b` has not ended on 40 letters after a year. Such patterns are refused. What
is left takes a time that grows with a power of the text's length, of which no more than
64 KiB are looked at.
"""

import re
import warnings

__all__ = ["MAX_TEXT", "PatternError", "pattern_of"]

MAX_TEXT = 1 << 16
"""Characters of a text that a pattern is tried on; what is behind them is not seen."""

_MAX_PATTERN = 1_000
_PIECE = re.compile(
    r"""\\. | \[\^?\]?(?:[^\]\\]|\\.)*\] | [()|]
    | (?P<many>[*+]|\{\d*,\d*\}|\{\d+\})[+?]? | .""",
    re.VERBOSE | re.DOTALL,
)
_AT_MOST_ONCE = frozenset({"{0}", "{1}", "{,1}", "{0,1}", "{1,1}", "{,0}", "{0,0}"})
_NESTED = "expected no repeat or choice inside of a repeat, as that can take for ever"


class PatternError(ValueError):
    """A pattern that cannot be used.

    Attributes:
        place: Where the mistake is in it.
    """

    def __init__(self, why: str, place: int) -> None:
        """Say why, and where."""
        super().__init__(why)
        self.place = place


def pattern_of(text: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile a pattern in Python's syntax.

    Raises:
        PatternError: It is none, or could take for ever.
    """
    if len(text) > _MAX_PATTERN:
        raise PatternError(
            f"expected a pattern of at most {_MAX_PATTERN} characters, got {len(text)}",
            0,
        )
    _refuse_nested(text)
    try:
        with warnings.catch_warnings():  # of what later versions may read otherwise
            warnings.simplefilter("ignore")
            return re.compile(text, re.IGNORECASE if ignore_case else 0)
    except re.error as exc:
        raise PatternError(f"expected a pattern, got {exc.msg}", exc.pos or 0) from exc
    except (RecursionError, OverflowError, MemoryError) as exc:
        raise PatternError("expected a simpler pattern", 0) from exc


def _refuse_nested(text: str) -> None:
    """Refuse a group that is repeated, and that has a repeat or a choice in it."""
    # For each open group whether there is one in it; the first is the whole pattern.
    open_groups = [False]
    closed = False  # whether there is one in the group that has just ended
    for piece in _PIECE.finditer(text):
        sign, many = piece[0], piece["many"]
        if many and many not in _AT_MOST_ONCE:
            if closed:
                raise PatternError(_NESTED, piece.start())
            open_groups[-1] = True
        elif sign == "(":
            open_groups.append(False)
        elif sign == "|":
            open_groups[-1] = True
        closed = False
        if sign == ")" and len(open_groups) > 1:
            closed = open_groups.pop()
            open_groups[-1] = open_groups[-1] or closed
