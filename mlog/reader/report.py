"""A report: one HTML file to look at and to send, of one run or of several.

Invariants:
    - The file needs nothing besides itself: no script, no request. Its policy
      (`Content-Security-Policy`) forbids browsers both, whatever was logged.
    - Whatever was logged is text: escaped, and control characters shown.
    - It has at most 5 MB. What is left out for that is said.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlog.errors import MlogError
from mlog.reader.compare import compare, read_runs
from mlog.reader.page_facts import Page
from mlog.reader.page_words import moment
from mlog.reader.report_errors import last_errors, last_lines
from mlog.reader.report_html import (
    Part,
    comparison_parts,
    document,
    errors_html,
    last_lines_html,
    run_part,
)

__all__ = ["MAX_RUNS", "MAX_SIZE", "report_html"]

MAX_SIZE = 5_000_000
"""Bytes of a report at most."""

MAX_RUNS = 64
"""Runs in a report at most."""

_RESERVE = 20_000  # for the head of the document, and a note on what is left out
_LEFT_OUT = '<p class="muted">Left out, to keep this file below 5 MB: {}.</p>'


def report_html(
    folders: Sequence[Path], *, max_curves: int = 12, now: float | None = None
) -> str:
    """Return a whole HTML document, which needs nothing besides itself.

    Args:
        folders: The runs', from 1 to 64. Several are compared with the first.
        max_curves: Most metrics to draw, those first logged; all are in the table.
        now: Seconds since the epoch, for the date on it. None: the time it is.

    Raises:
        MlogError: There are too many runs.
        RunNotFoundError: There is no run in a folder.
        OSError: A folder may not be read.
    """
    if not 1 <= len(folders) <= MAX_RUNS:
        raise MlogError(f"a report has 1 to {MAX_RUNS} runs, got {len(folders)}")
    pages = read_runs(folders, most=max_curves)
    made = moment(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))
    return document(pages, "".join(_fitting(_parts(pages, max_curves))), made)


def _parts(pages: list[Page], max_curves: int) -> Iterator[Part]:
    if len(pages) > 1:
        yield from comparison_parts(compare(pages), max_curves)
    for place, page in enumerate(pages):
        folder = page.state.folder
        errors, lines = last_errors(folder), []
        if page.state.error and not errors:  # what ended it was raised, not logged
            lines = last_lines(folder)
        text = errors_html(errors) + last_lines_html(lines)
        yield run_part(page, text, max_curves, place, len(pages))


def _fitting(parts: Iterator[Part]) -> Iterator[str]:
    """Yield parts as long as there is room, and say what had none."""
    left, out = MAX_SIZE - _RESERVE, []
    for part in parts:
        size = len(part.html.encode())
        if size <= left:
            left -= size
            yield part.html
        else:
            out.append(part.name)
    if out:
        names = ", ".join(out[:20]) + (" and more" if len(out) > 20 else "")
        yield _LEFT_OUT.format(names)
