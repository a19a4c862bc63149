"""Columns of text for a terminal: aligned by what the screen shows, as wide as it is."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import click

from mlog.widths import text_width

__all__ = [
    "Column",
    "fit",
    "fitted",
    "pad",
    "painted",
    "print_lines",
    "table_lines",
    "width_of",
]

_GAP = "  "
_DEFAULT_WIDTH = 100
_BOLD, _RESET = "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: What stands above it.
        cells: Texts without control characters, one for each row.
        is_right: Whether its end is aligned, as of numbers.
        least: To how many characters it may be cut; None: not at all.
        rank: Who goes first where there is no room: the greatest, and of equals the
            last. 0: never.
        colour_of: ANSI colour of a cell; "" for none.
    """

    title: str
    cells: Sequence[str]
    is_right: bool = False
    least: int | None = None
    rank: int = 0
    colour_of: Callable[[str], str] | None = None

    @property
    def width(self) -> int:
        """How much room it takes where nothing is cut."""
        return max(map(text_width, (self.title, *self.cells)))

    @property
    def narrowest(self) -> int:
        """How much room it takes at least."""
        return self.width if self.least is None else min(self.width, self.least)


def width_of(stream: TextIO, env: Mapping[str, str]) -> int:
    """Return how many characters a line of a stream may have.

    What `COLUMNS` says, else the terminal; 100 where the stream is none.
    """
    given = env.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given[:9]) > 0:
        return int(given[:9])
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    except (AttributeError, OSError, ValueError):
        return _DEFAULT_WIDTH


def table_lines(
    columns: Sequence[Column], width: int, *, colour: bool = False
) -> Iterator[str]:
    """Yield the heading and the rows of a table, without newlines.

    Args:
        columns: Some that `fitted` has chosen.
        width: Most characters of a line; what is too long even so is cut.
        colour: Whether the lines may have ANSI colours.
    """
    sizes = _sizes(columns, width)
    rows = zip(*(column.cells for column in columns), strict=True)
    for number, row in enumerate([tuple(c.title for c in columns), *rows]):
        colours = [
            _colour(c, cell, number) for c, cell in zip(columns, row, strict=True)
        ]
        yield _line(columns, row, sizes, width, colours if colour else [])


def fitted(columns: Iterable[Column], width: int) -> tuple[list[Column], list[Column]]:
    """Choose the columns that there is room for.

    Returns:
        Them in their order, and those that were left out.
    """
    kept = [(column, column.narrowest) for column in columns]
    out: list[Column] = []
    while _total(narrowest for _, narrowest in kept) > width:
        rank = max((column.rank for column, _ in kept), default=0)
        if rank == 0:
            break
        place = max(n for n, (column, _) in enumerate(kept) if column.rank == rank)
        out.append(kept.pop(place)[0])
    return [column for column, _ in kept], out


def fit(text: str, width: int) -> str:
    """Return a text that takes so many columns at most, its end left out."""
    if text_width(text) <= width:
        return text
    taken, left = [], width - 1  # for the ellipsis
    for character in text:
        left -= text_width(character)
        if left < 0:
            break
        taken.append(character)
    return "".join(taken) + "…" if width > 0 else ""


def pad(text: str, width: int, *, is_right: bool = False) -> str:
    """Return a text with blanks behind it, or before it, up to a width."""
    blanks = " " * (width - text_width(text))
    return blanks + text if is_right else text + blanks


def painted(text: str, colour: str) -> str:
    """Return a text in an ANSI colour; as it is where that is "", or the text."""
    return f"{colour}{text}{_RESET}" if colour and text else text


def print_lines(lines: Iterable[str]) -> None:
    r"""Print lines; what the terminal's encoding has no sign for as `\u2026`."""
    encoding = sys.stdout.encoding or "utf-8"
    text = "".join(f"{line}\n" for line in lines)
    click.echo(text.encode(encoding, "backslashreplace"), nl=False)


def _total(sizes: Iterable[int]) -> int:
    sizes = list(sizes)
    return sum(sizes) + len(_GAP) * (len(sizes) - 1)


def _sizes(columns: Sequence[Column], width: int) -> list[int]:
    """Return the width of each column; the widest that may be cut gives way first."""
    sizes = [column.width for column in columns]
    least = [column.narrowest for column in columns]
    excess = _total(sizes) - width
    while excess > 0:
        loose = [n for n, size in enumerate(sizes) if size > least[n]]
        if not loose:
            break
        sizes[max(loose, key=sizes.__getitem__)] -= 1
        excess -= 1
    return sizes


def _colour(column: Column, cell: str, number: int) -> str:
    if number == 0:
        return _BOLD
    return column.colour_of(cell) if column.colour_of is not None else ""


def _line(
    columns: Sequence[Column],
    row: Sequence[str],
    sizes: list[int],
    width: int,
    colours: list[str],
) -> str:
    cells = [
        pad(fit(cell, size), size, is_right=column.is_right)
        for column, cell, size in zip(columns, row, sizes, strict=True)
    ]
    if not colours or _total(sizes) > width:
        return fit(_GAP.join(cells).rstrip(), width)
    cells[-1] = cells[-1].rstrip()
    return _GAP.join(map(painted, cells, colours)).rstrip()
